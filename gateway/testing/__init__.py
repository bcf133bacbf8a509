"""Parts for the tests of an application that builds on the gateway.

`FakeSession` runs a handler without a gateway. `running_gateway` starts a real one on a free port of this machine.
`MovableClock` is a clock that a test sets. `gateway.testing.fixtures` has a fixture for pytest.
"""

from gateway.testing.clock import MovableClock as MovableClock
from gateway.testing.server import Gateway as Gateway
from gateway.testing.server import StartGateway as StartGateway
from gateway.testing.server import running_gateway as running_gateway
from gateway.testing.server import settings_for_tests as settings_for_tests
from gateway.testing.session import Call as Call
from gateway.testing.session import FakeSession as FakeSession
