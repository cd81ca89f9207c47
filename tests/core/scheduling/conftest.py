"""Settings of the property tests."""

from hypothesis import HealthCheck, settings

# No time limit an example: how busy the machine is says nothing about the code.
settings.register_profile(
    "skyport", deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("skyport")
