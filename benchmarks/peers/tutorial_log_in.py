"""The log-in of https://fastapi.tiangolo.com/tutorial/security/oauth2-jwt/, with a WebSocket, to compare the start."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, WebSocket
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
from jose import JWTError, jwt
from passlib.context import CryptContext
from pydantic import BaseModel

SECRET_KEY = "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7"  # noqa: S105 - the tutorial's own
ALGORITHM = "HS256"

passwords = CryptContext(schemes=["bcrypt"], deprecated="auto")
bearer = OAuth2PasswordBearer(tokenUrl="token")
hashes: dict[str, str] = {}

app = FastAPI()


class Token(BaseModel):
    """An access token."""

    access_token: str
    token_type: str


@app.post("/token")
async def log_in(form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> Token:
    """Exchange a password for a token."""
    if form.username not in hashes or not passwords.verify(form.password, hashes[form.username]):
        raise HTTPException(status_code=401, detail="Incorrect username or password")
    claims = {"sub": form.username, "exp": datetime.now(UTC) + timedelta(minutes=30)}
    return Token(access_token=jwt.encode(claims, SECRET_KEY, algorithm=ALGORITHM), token_type="bearer")  # noqa: S106


@app.get("/users/me")
async def read_me(token: Annotated[str, Depends(bearer)]) -> str:
    """Return the name of the user."""
    try:
        return str(jwt.decode(token, SECRET_KEY, algorithms=[ALGORITHM])["sub"])
    except JWTError:
        raise HTTPException(status_code=401, detail="Could not validate credentials") from None


@app.websocket("/ws")
async def echo(websocket: WebSocket) -> None:
    """Send everything back."""
    await websocket.accept()
    async for data in websocket.iter_json():
        await websocket.send_json(data)
