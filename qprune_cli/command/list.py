"""``qprune list``: components and what they are for."""

from qprune_cli.places import components, roles

HELP = """\
  qprune list [role]                 components and what they are for
"""


def words() -> list[str]:
    """What may follow the command: the roles."""
    return roles()


def run(argv: list[str]) -> int:
    """Print the components of some roles, or of all where none is named.

    Raises:
        UserError: no such role.
    """
    for role in argv or roles():
        print(role)
        for name, purpose in components(role).items():
            print(f"  {name:<24}{purpose}")
    return 0
