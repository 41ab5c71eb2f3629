"""The command line `virtfn`: what a person sees of observe, plan and perform."""
