"""A process's C library in the hands of a test: its names, its connections, its randomness."""

import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("interposer.c")


class Interposer:
    """Processes that are started with `environment` ask the test; see `interposer.c`."""

    def __init__(self):
        self.holder = tempfile.TemporaryDirectory(prefix="turnpike-interposer-")
        self.folder = Path(self.holder.name)
        library = self.folder / "interposer.so"
        command = ["cc", "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared", "-o", library, SOURCE]
        made = subprocess.run([*command, "-ldl", "-lpthread"], capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        self.environment = {"LD_PRELOAD": str(library), "INTERPOSER_FOLDER": str(self.folder)}
        self.names({})

    def close(self):
        self.holder.cleanup()

    def names(self, answers):
        """What names lead to: a list of answers in turn, each one address or several with commas."""
        lines = [" ".join([name, *addresses]) for name, addresses in answers.items()]
        (self.folder / "names").write_text("".join(line + "\n" for line in lines))

    def connections(self):
        """Address and port of every connection that was tried; none was made but on loopback."""
        noted = self.folder / "connections"
        pairs = [line.split() for line in noted.read_text().splitlines()] if noted.exists() else []
        return [(address, int(port)) for address, port in pairs]

    def withhold_randomness(self, withheld):
        """Whether the operating system has none: whoever needs some panics."""
        sign = self.folder / "no-randomness"
        sign.touch() if withheld else sign.unlink(missing_ok=True)
