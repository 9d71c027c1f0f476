"""Reports: the figures, the published ones beside them, and three formats."""

import html.parser
import json

import numpy as np
import pytest
from firstspike.document import html_table
from firstspike.firmware.errors import DataError, FirstspikeError
from firstspike.firmware.network import Layer, Network
from firstspike.report import PUBLISHED, Report
from firstspike.sim import fast
from firstspike.sim.random_networks import random_case


def report_of(seed=0, **arguments):
    case = random_case(seed, batch=60)
    network = case.network.with_meta(name="some <network>")
    inference = fast.infer(network, case.samples)
    labels = np.random.default_rng(seed).integers(0, network.outputs, 60)
    return Report(network, inference, labels, "noise & more", example=case.samples[0], **arguments)


def test_published_figures():
    """As the paper gives them."""
    assert (PUBLISHED.accuracy, PUBLISHED.mean_step, PUBLISHED.median_step) == (0.97, 167, 162)
    assert (PUBLISHED.hidden_spikes, PUBLISHED.total_spikes) == (30, 139)
    assert PUBLISHED.lookups_percent == (13, 5)


@pytest.mark.parametrize("seed", range(8))
def test_text_names_every_figure(seed):
    report = report_of(seed, checks=["everything agrees"])
    text = report.to_text()
    summary = report.summary
    assert "some <network> on noise & more, golden model" in text
    assert f"{100 * summary.accuracy:.2f} %" in text
    assert f"{summary.mean_step:.2f}" in text
    assert f"{summary.total_spikes:.1f}" in text
    assert "97 %" in text
    assert "ISCAS 2017" in text
    assert text.endswith("everything agrees")
    layers = len(report.network.layers)
    assert text.count("weights looked up") == layers
    # The published look-ups are of two layers and stand beside no other network.
    assert (" 13 %" in text) == (layers == 2)


def test_values_are_json():
    report = report_of(3)
    values = json.loads(report.to_json())
    assert values["summary"]["accuracy"] == report.summary.accuracy
    assert values["network"]["shape"] == list(report.network.shape)
    assert values["by_step"]["decided"][-1] == 1
    assert values["by_step"]["correct"][-1] == pytest.approx(report.summary.accuracy)
    assert values["published"]["total_spikes"] == 139


class Page(html.parser.HTMLParser):
    """Collects what a page refers to and shows."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.links = []
        self.text = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.text.append(data)


def test_a_page_needs_nothing_else():
    pytest.importorskip("matplotlib")
    report = report_of(3, checks=["a < b"])
    page = Page(report.to_html())
    assert page.tags.count("svg") == 3
    assert not [link for link in page.links if not link.startswith("#")]
    assert "script" not in page.tags
    text = " ".join(page.text)
    assert "some <network> on noise & more" in text
    assert "a < b" in text
    for what, here, _ in report.rows():
        assert what in text
        assert here in text
    assert report.to_html() == report_of(3, checks=["a < b"]).to_html()


def test_files(tmp_path):
    report = report_of(1)
    for name in ("r.txt", "r.json", "r.HTML"):
        report.save(tmp_path / name)
        assert (tmp_path / name).read_text().endswith("\n")
    with pytest.raises(DataError, match=r"must end in \.txt, \.json, \.html"):
        report.save(tmp_path / "r.pdf")
    with pytest.raises(FirstspikeError, match="could not be written"):
        report.save(tmp_path / "no" / "r.txt")


def test_labels_have_to_suit():
    network = Network([Layer(np.ones((3, 2), np.int8), 4, 10)], 10)
    inference = fast.infer(network, np.zeros((4, 3), np.int32))
    with pytest.raises(DataError, match="labels have shape"):
        Report(network, inference, np.zeros(3, int), "x")


def test_labels_that_no_output_stands_for():
    case = random_case(0, batch=10)
    labels = np.full(10, case.network.outputs)
    inference = fast.infer(case.network, case.samples)
    sentence = f"labels run to {case.network.outputs}, but the network has {case.network.outputs}"
    with pytest.raises(DataError, match=sentence):
        Report(case.network, inference, labels, "noise")


def test_a_digest_may_be_broken_and_a_number_may_not():
    digest = 64 * "a"
    page = html_table([["bitstream", "LUT"], [f"SHA-256 {digest}", "4831"]])
    assert f"<td class=long>SHA-256 {digest}<td>4831" in page
