"""What the shell offers after a verb."""


def names(incomplete: str) -> list[str]:
    """Names of the components and pipelines of the repository one is in that begin like this."""
    from kfp_lifecycle.compiler.discover import sources
    from kfp_lifecycle.compiler.repository import find_repository
    from kfp_lifecycle.components.shared.errors import LifecycleError

    try:
        known = {source.name for source in sources(find_repository())}
    except LifecycleError:
        return []
    return sorted(name for name in known if name.startswith(incomplete.replace("_", "-")))
