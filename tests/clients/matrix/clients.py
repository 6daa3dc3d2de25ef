"""Published Python clients pay for a joke and say so: one line of JSON for each.

Only their wallet is ours, a shim that pays at the simulated node.
"""

import asyncio
import json
import os
from hashlib import sha256
from importlib.metadata import version

import httpx
import l402_requests
from l402_requests.wallets import WalletBase
from lightning_toll.client import TollClient
from lightning_toll.nwc import PaymentResult

JOKE = os.environ["TOLLWAY_GATEWAY_URL"] + "/api/joke"
WALLET = os.environ["TOLLWAY_WALLET_URL"]
payments = 0


async def pay(invoice: str) -> str:
    global payments
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{WALLET}/sim/v1/pay", json={"invoice": invoice})
    assert answer.status_code == 200, answer.text
    payments += 1
    return answer.json()["preimage"]


async def row(client: str, package: str, rail: str, call) -> None:
    """Asks twice: the client has to pay once and to be served twice."""
    before, served, reason = payments, 0, ""
    try:
        for _ in range(2):
            status, text = await call()
            if status != 200 or "joke" not in text:
                raise AssertionError(f"answered {status}")
            served += 1
    except Exception as error:
        reason = f"; failed: {type(error).__name__}: {error}".replace("\n", " ")
    count = payments - before
    result = f"paid {'once' if count == 1 else count}, served {served}{reason}"
    print(json.dumps({
        "client": client, "version": version(package), "rail": rail, "result": result,
    }))


class RequestsWallet(WalletBase):
    async def pay_invoice(self, bolt11: str) -> str:
        return await pay(bolt11)


class TollWallet:
    async def pay_invoice(self, invoice: str) -> PaymentResult:
        preimage = await pay(invoice)
        return PaymentResult(preimage, sha256(bytes.fromhex(preimage)).hexdigest())


async def main() -> None:
    requests = l402_requests.AsyncL402Client(wallet=RequestsWallet())
    toll = TollClient(wallet=TollWallet(), max_sats=100)

    async def by_requests() -> tuple[int, str]:
        answer = await requests.get(JOKE)
        return answer.status_code, answer.text

    async def by_toll() -> tuple[int, str]:
        answer = await toll.fetch(JOKE)
        return answer.status_code, str(answer.body)

    await row("PyPI l402-requests", "l402-requests", "L402", by_requests)
    await row("PyPI lightning-toll, TollClient", "lightning-toll", "L402", by_toll)


asyncio.run(main())
