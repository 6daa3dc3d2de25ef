"""The client of the published MCP package finds tools for free, is told what one costs, pays the
simulated node, and calls it. Both kinds of connection that the package knows are tried."""

import asyncio
import json
import os
import urllib.request

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

URL = os.environ["TOLLWAY_GATEWAY_URL"] + "/mcp"
WALLET = os.environ["TOLLWAY_WALLET_URL"] + "/sim/v1/pay"
PAYMENT_REQUIRED = -32042


def pay(invoice):
    request = urllib.request.Request(
        WALLET, json.dumps({"invoice": invoice}).encode(), {"content-type": "application/json"}
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        return json.load(answer)["preimage"]


async def visit(mode):
    async with httpx2.AsyncClient(trust_env=False) as http:
        transport = streamable_http_client(URL, http_client=http)
        async with Client(transport, mode=mode) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            assert tools == ["search", "help", "broken"], tools
            about = await client.call_tool("help", {"topic": "prices"})
            assert about.content[0].text == "about prices", about

            try:
                await client.call_tool("search", {"query": "x"})
                raise AssertionError("it was not asked to pay")
            except MCPError as error:
                assert error.error.code == PAYMENT_REQUIRED, error
                data = error.error.data
            assert data["httpStatus"] == 402, data
            assert data["challenges"][0]["scheme"] == "L402", data
            problem = data["problem"]
            assert problem["priceMsat"] == 2000, problem
            preimage = pay(problem["invoice"])
            http.headers["authorization"] = f"L402 {problem['macaroon']}:{preimage}"

            found = await client.call_tool("search", {"query": "x"})
            assert found.content[0].text == "found x" and not found.is_error, found
            failed = await client.call_tool("broken", {})
            assert failed.is_error, failed
            await client.list_tools()


for mode in ["auto", "legacy"]:
    asyncio.run(visit(mode))
    print(f"{mode}: found, paid, called")
