"""Who is to blame for an error: the client, or the server."""

from sonoseg.errors import InputError, MachineError
from sonoseg.serve.refusal import refused_input


def test_a_full_disk_is_the_servers_and_a_bad_label_the_clients():
    full = MachineError("session.db", "cannot be used (full)", "check the disk")
    for subject in ("label", full.subject):
        refused = refused_input(full, subject)
        assert (refused.status_code, refused.subject) == (503, "server")
    bad = InputError("/home/user/label.nrrd", "is damaged", "send it again")
    refused = refused_input(bad, "label")
    assert (refused.status_code, refused.subject) == (422, "label")
