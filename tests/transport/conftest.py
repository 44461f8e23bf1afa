"""Property tests of this room are judged by what they find, never by how long an example took on a busy machine."""

import hypothesis

hypothesis.settings.register_profile("triode", deadline=None)
hypothesis.settings.load_profile("triode")
