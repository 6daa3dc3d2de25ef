"""The published L402sdk and its tool for LangChain pay for a joke and say so: one line of JSON for
each. They know nodes and no wallet of ours, so a stand-in of LND's REST door pays at the simulated
node. It runs as a process of its own: while the SDK waits for an answer, no Python runs beside it.
"""

import json
import os
import subprocess
import sys
import urllib.request
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version

JOKE = os.environ["TOLLWAY_GATEWAY_URL"] + "/api/joke"
WALLET = os.environ["TOLLWAY_WALLET_URL"] + "/sim/v1/pay"
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Lnd(BaseHTTPRequestHandler):
    payments = 0

    def log_message(self, *_):
        pass

    def answer(self, body):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def do_GET(self):
        self.answer(Lnd.payments)

    def do_POST(self):
        assert self.path == "/v2/router/send", self.path
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        request = urllib.request.Request(
            WALLET,
            json.dumps({"invoice": asked["payment_request"]}).encode(),
            {"content-type": "application/json"},
        )
        with DIRECT.open(request) as paid:
            preimage = json.load(paid)["preimage"]
        Lnd.payments += 1
        self.answer({"result": {
            "status": "SUCCEEDED",
            "payment_preimage": preimage,
            "payment_hash": sha256(bytes.fromhex(preimage)).hexdigest(),
            "value_sat": "20",
            "fee_sat": "0",
        }})


def serve():
    server = HTTPServer(("127.0.0.1", 0), Lnd)
    print(server.server_port, flush=True)
    server.serve_forever()


def payments(node):
    with DIRECT.open(node) as answer:
        return json.load(answer)


def row(client, package, node, call):
    """Asks twice: the client has to pay once and to be served twice."""
    before, served, reason = payments(node), 0, ""
    try:
        for _ in range(2):
            text = call()
            if '"joke":' not in text:
                raise AssertionError(text)
            served += 1
    except Exception as error:
        reason = f"; failed: {type(error).__name__}: {error}".replace("\n", " ")
    count = payments(node) - before
    result = f"paid {'once' if count == 1 else count}, served {served}{reason}"
    print(json.dumps({
        "client": client, "version": version(package), "rail": "L402", "result": result,
    }))


def main():
    try:
        from l402 import L402Client
        from l402_langchain import L402FetchTool
    except ImportError:
        return  # Where it has no wheel it says nothing, and is skipped.

    wallet = subprocess.Popen([sys.executable, __file__, "lnd"], stdout=subprocess.PIPE)
    try:
        node = f"http://127.0.0.1:{int(wallet.stdout.readline())}"
        client = L402Client.with_lnd_rest(node, "00")
        row("PyPI l402sdk", "l402sdk", node, lambda: client.get(JOKE).text())
        tool = L402FetchTool(client=L402Client.with_lnd_rest(node, "00"))
        name = "PyPI l402sdk-langchain, L402FetchTool"
        row(name, "l402sdk-langchain", node, lambda: tool.invoke(JOKE))
    finally:
        wallet.kill()
        wallet.wait()


serve() if sys.argv[1:] == ["lnd"] else main()
