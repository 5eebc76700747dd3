"""An MCP server on the official SDK: tools, a prompt and a resource; it notes whom it has served."""

import json
import socket
import sys

from mcp.server.mcpserver import Context, MCPServer

SEEN = open(sys.argv[2], "a", buffering=1)
server = MCPServer("files")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def remove(name: str) -> str:
    """Removes a file."""
    return f"removed {name}"


@server.tool()
async def count(ctx: Context) -> str:
    """Counts to three, and says how far it is."""
    for number in range(1, 4):
        await ctx.report_progress(number, 3)
    return "three"


@server.tool()
def fail() -> str:
    """Fails."""
    raise ValueError("broken")


@server.prompt()
def greet(name: str) -> str:
    """Greets."""
    return f"Greet {name}."


@server.resource("files://motto")
def motto() -> str:
    """The motto."""
    return "one truth"


def noting(app):
    """The server, with the headers of each request noted."""

    async def noted(scope, receive, send):
        if scope["type"] == "http":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            SEEN.write(json.dumps({"method": scope["method"], "headers": headers}) + "\n")
        await app(scope, receive, send)

    return noted


if __name__ == "__main__":
    import uvicorn

    # A port that is handed over cannot be taken by another meanwhile.
    own = socket.socket(fileno=int(sys.argv[1]))
    config = uvicorn.Config(noting(server.streamable_http_app()), log_level="warning")
    uvicorn.Server(config).run(sockets=[own])
