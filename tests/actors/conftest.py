"""Properties run on virtual time inside: how long an example takes on the wall says nothing."""

from hypothesis import settings

settings.register_profile("actors", deadline=None, database=None)
settings.load_profile("actors")
