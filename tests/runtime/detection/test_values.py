from helpers.values import changeable


def test_what_is_passed_around_cannot_be_changed():
    assert changeable("emonet_deploy.runtime.detection") == []
