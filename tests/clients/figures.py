"""What the tests have measured, said once at the end of the run."""

LINES = []


def tell(test, **figures):
    """Notes the figures of a test, such as T3."""
    LINES.append(f"{test}: " + ", ".join(f"{name} {value}" for name, value in figures.items()))
    print(LINES[-1])
