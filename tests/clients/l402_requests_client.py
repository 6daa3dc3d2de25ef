"""PyPI l402-requests pays once and spends the credential again from its own cache."""

import os

import httpx
import l402_requests
from l402_requests.wallets import WalletBase

GATEWAY = os.environ["TOLLWAY_GATEWAY_URL"]
WALLET = os.environ["TOLLWAY_WALLET_URL"]


class SimulatedNode(WalletBase):
    """Pays at tollwayd's simulated node."""

    payments = 0

    async def pay_invoice(self, bolt11: str) -> str:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(f"{WALLET}/sim/v1/pay", json={"invoice": bolt11})
        assert answer.status_code == 200, answer.text
        SimulatedNode.payments += 1
        return answer.json()["preimage"]


client = l402_requests.L402Client(wallet=SimulatedNode())
for balance in ("15000", "10000"):
    answer = client.get(f"{GATEWAY}/api/joke")
    assert answer.status_code == 200, answer.text
    assert "joke" in answer.json()
    assert answer.headers["x-toll-balance-msat"] == balance, dict(answer.headers)

assert SimulatedNode.payments == 1, SimulatedNode.payments
print("l402-requests: paid once, served twice")
