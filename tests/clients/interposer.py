"""A process's C library in the hands of a test: its names, connections, randomness and day."""

import struct
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
        self.set_day(0)

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

    def set_day(self, ahead_ms):
        """Sets the day so many milliseconds ahead of the machine's, or behind, while processes run."""
        with open(self.folder / "day", "r+b" if (self.folder / "day").exists() else "wb") as day:
            day.write(struct.pack("<q", ahead_ms))
