"""`virtfn crds`: the CustomResourceDefinitions of the API, made from its models, and their reference."""

from __future__ import annotations

import argparse
from pathlib import Path

from virtfn.cli.context import Context
from virtfn.cli.exits import Exit
from virtfn.errors import InvalidDocument


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's words."""
    parser = commands.add_parser("crds", help="print the CustomResourceDefinitions that a cluster needs")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--output-dir", type=Path, metavar="DIR", help="write one file for each kind instead")
    form.add_argument("--markdown", action="store_true", help="print the reference of all fields instead")
    parser.set_defaults(run=run)


def run(context: Context, args: argparse.Namespace) -> Exit:
    """Do it."""
    from virtfn.model.crd import KINDS
    from virtfn.model.schema import crd_file_name, crd_yaml, reference_markdown

    if args.markdown:
        context.stdout.write(reference_markdown())
        return Exit.OK
    files = {crd_file_name(kind): crd_yaml(kind) for kind in KINDS.values()}
    if args.output_dir is None:
        context.stdout.write("".join(files.values()))
        return Exit.OK
    folder: Path = args.output_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
            context.stdout.write(f"{folder / name}\n")
    except OSError as error:
        raise InvalidDocument(
            f"--output-dir: {error.filename or folder} cannot be written ({error.strerror}; name a folder where you "
            "may write)",
            field="--output-dir",
        ) from error
    return Exit.OK
