"""`gateway doctor`: looks at a gateway's settings and surroundings, and names the line to change.

`checks` is the table. Each check is a function that looks at a `Subject` and returns findings. The modules beside it
have the functions by topic: `files`, `keys`, `versions`, `store`, `bus`, `machine`, `exposure`, `proxy` and `nodes`.
`examination` runs them, each within its time, and `report` shows what they have found. Nothing here changes anything.
"""

from gateway.cli.doctor.command import doctor as doctor
