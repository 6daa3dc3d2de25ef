"""A server of the published MCP package, with tools that a test sells."""

import sys

from mcp.server.mcpserver import MCPServer

server = MCPServer("tools")


@server.tool()
def search(query: str) -> str:
    """Finds something."""
    return f"found {query}"


@server.tool()
def help(topic: str) -> str:
    """Explains something."""
    return f"about {topic}"


@server.tool()
def broken() -> str:
    """Never works."""
    raise ValueError("it broke")


server.run(
    transport="streamable-http",
    host="127.0.0.1",
    port=int(sys.argv[1]),
    json_response=sys.argv[2] == "json",
)
