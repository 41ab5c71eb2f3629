"""The real-kernel test bed: what builds, starts and watches the guest. It knows nothing of the product under test."""
