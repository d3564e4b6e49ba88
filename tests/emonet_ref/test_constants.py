from emonet_deploy.emonet_ref import constants
from emonet_deploy.emonet_ref.constants import METRIC_NAMES, PUBLISHED, Accuracy, Regression

# The paper's table 1 and the authors' repository: AffectNet, cleaned test set, with flip.
PAPER = {
    8: "expression 75; valence 82 82 29 84; arousal 75 75 27 80",
    5: "expression 82; valence 90 90 24 85; arousal 80 80 24 79",
}


def test_published_figures_are_those_that_the_paper_prints():
    for nclass, line in PAPER.items():
        printed = [int(word) / 100 for word in line.replace(";", "").split() if word.isdigit()]
        assert list(PUBLISHED[nclass].by_name().values()) == printed
    assert set(PUBLISHED) == set(constants.CLASS_NAMES) == set(PAPER)


def test_metrics_have_the_names_of_their_places():
    row = Accuracy(0.1, Regression(0.2, 0.3, 0.4, 0.5), Regression(0.6, 0.7, None, 0.9))
    named = row.by_name()
    assert tuple(named) == METRIC_NAMES
    assert named["expression ACC"] == 0.1
    assert [named[f"valence {m}"] for m in ("CCC", "PCC", "RMSE", "SAGR")] == [0.2, 0.3, 0.4, 0.5]
    assert [named[f"arousal {m}"] for m in ("CCC", "PCC", "RMSE", "SAGR")] == [0.6, 0.7, None, 0.9]


def test_each_model_has_as_many_classes_as_it_is_called_after_and_five_are_of_the_eight():
    for nclass, names in constants.CLASS_NAMES.items():
        assert len(set(names)) == nclass
        assert set(names) <= set(constants.CLASS_NAMES[8])
    # AffectNet's own numbering of its classes.
    affectnet = "Neutral Happy Sad Surprise Fear Disgust Anger Contempt"
    assert list(constants.CLASS_NAMES[8]) == affectnet.lower().split()


def test_sizes_are_those_of_the_papers_network():
    assert constants.INPUT_SIZE == 4 * constants.HEATMAP_SIZE == 256
    ibug = {"jaw": 17, "brows": 10, "nose": 9, "eyes": 12, "mouth": 20}
    assert sum(ibug.values()) == constants.NUM_LANDMARKS
