from helpers.values import changeable


def test_what_is_passed_around_cannot_be_changed():
    # Those two are loaded by the servers themselves.
    assert changeable("emonet_deploy.serving", ("mosec_workers", "triton_faces")) == []
