"""What `bitune up` shows once everything runs."""

from rich.console import Console
from rich.table import Table

from cli.local_stack import LocalStack


def print_summary(stack: LocalStack, console: Console, *, seconds: float) -> None:
    console.print(_make_table(stack))
    console.print(f"\nReady after {seconds:.1f} s. The API key (also in {stack.home.path / 'key'}):\n")
    console.print(f"  [bold green]{stack.key}[/]\n", soft_wrap=True)
    console.print("Try it:\n")
    console.print(
        f'  curl -H "Authorization: Bearer $(cat {stack.home.path / "key"})" {stack.url}/backbones\n',
        soft_wrap=True,
        highlight=False,
    )
    console.print(f"The API explains itself at {stack.url}/docs. Ctrl-C stops everything; data stays.")


def _make_table(stack: LocalStack) -> Table:
    table = Table("what", "where", "log")
    ports = stack.home.ports
    table.add_row(stack.api.name, stack.url, str(stack.api.log_path))
    for worker in stack.workers:
        table.add_row(worker.name, "", str(worker.log_path))
    for server, name in zip(stack.servers, ("postgres", "valkey", "s3"), strict=True):
        table.add_row(server.name, f"127.0.0.1:{ports[name]}", str(server.log_path))
    return table
