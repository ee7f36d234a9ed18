"""`pyconv completion bash|zsh|fish`: the script that makes the Tab key know verbs, targets and profiles."""

import click
from click.shell_completion import get_completion_class

INSTALL = {
    "bash": 'eval "$(pyconv completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(pyconv completion zsh)"    # in ~/.zshrc',
    "fish": "pyconv completion fish > ~/.config/fish/completions/pyconv.fish",
}


@click.command(epilog="\b\n" + "\n".join(f"  {line}" for line in INSTALL.values()))
@click.argument("shell", type=click.Choice(list(INSTALL)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "pyconv", "_PYCONV_COMPLETE").source())
