"""The lab: real hosts in Docker, or this machine alone, for the demo and the tests."""
