"""PyPI lightning-toll: its client pays here, and tokens of each are good at the other."""

import asyncio
import hashlib
import os
import types

import httpx
from lightning_toll import create_macaroon, decode_macaroon, verify_macaroon
from lightning_toll.client import TollClient

GATEWAY = os.environ["TOLLWAY_GATEWAY_URL"]
WALLET = os.environ["TOLLWAY_WALLET_URL"]
SECRET = os.environ["TOLLWAY_OLD_SECRET"]


class SimulatedNode:
    """Pays at tollwayd's simulated node."""

    async def pay_invoice(self, bolt11, *_, **__):
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(f"{WALLET}/sim/v1/pay", json={"invoice": bolt11})
        assert answer.status_code == 200, answer.text
        return types.SimpleNamespace(preimage=answer.json()["preimage"])


async def main():
    client = TollClient(wallet=SimulatedNode())
    for balance in ("15000", "10000"):
        answer = await client.fetch(f"{GATEWAY}/api/joke")
        assert answer.status_code == 200, answer.body
        assert answer.headers["x-toll-balance-msat"] == balance, answer.headers
    assert client.get_stats()["payment_count"] == 1, client.get_stats()

    async with httpx.AsyncClient(trust_env=False) as http:
        challenge = (await http.get(f"{GATEWAY}/api/joke")).json()
        token = decode_macaroon(challenge["macaroon"])
        context = {"endpoint": "/api/joke", "method": "GET", "ip": "192.0.2.1"}
        assert verify_macaroon(SECRET, token, context).valid, "minted here, verified there"
        assert not verify_macaroon(SECRET, token, context | {"endpoint": "/echo"}).valid
        assert not verify_macaroon(f"{SECRET}x", token, context).valid

        preimage = bytes([9]) * 32
        token = create_macaroon(
            SECRET, payment_hash=hashlib.sha256(preimage).hexdigest(),
            expires_at=4_000_000_000, endpoint="/api/joke", method="GET",
        )
        credential = {"authorization": f"L402 {token.raw}:{preimage.hex()}"}
        statuses = [
            (await http.get(f"{GATEWAY}/api/joke", headers=credential)).status_code
            for _ in range(2)
        ]
        assert statuses == [200, 402], "minted there, spent here, once"


asyncio.run(main())
print("lightning-toll: its client paid once and was served twice; tokens go both ways")
