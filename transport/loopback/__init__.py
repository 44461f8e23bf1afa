"""Both ends of a call on this machine: a carrier that plays Twilio and a model that plays the Realtime API.

They are product code: the demo, the tests and the benchmark place calls with them. They are faithful in refusing what
the real ends refuse. Time in them is Trio's, so the same code runs live and on the mock clock.
"""
