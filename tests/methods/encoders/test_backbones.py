"""Backbones: ResNets of either style against torchvision's, weights of either naming, fixed statistics."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision.models.resnet import Bottleneck, ResNet

from itm_harness.methods.encoders import backbones
from itm_harness.methods.encoders.backbone_names import label
from itm_harness.methods.encoders.backbones import NUMBERED, Shipped, backbone
from itm_harness.methods.errors import MethodError

SMALL = {
    "caffe": Shipped((1, 1, 1, 1), "caffe.pth", "1 MB, somewhere", bgr=True),
    "plain": Shipped((1, 1, 1, 1), "plain.pth", "1 MB, somewhere", caffe=False),
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(backbones, "SHIPPED", SMALL)
    monkeypatch.setattr(backbones, "IMAGENET", ((0.5, 0.4, 0.3), (0.2, 0.25, 0.5)))


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    network = ResNet(Bottleneck, [1, 1, 1, 1])
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
    return network.eval()


@pytest.fixture
def weights(resnet, tmp_path):
    torch.save({f"module.{name}": value for name, value in resnet.state_dict().items()}, tmp_path / "w.pth")
    return str(tmp_path / "w.pth")


PIXELS = torch.randint(0, 256, (2, 3, 64, 96), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def trunk(resnet, x):
    x = resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(x))))
    return resnet.layer4(resnet.layer3(resnet.layer2(resnet.layer1(x))))


@torch.no_grad()
def test_a_plain_resnet_is_torchvisions(resnet, weights):
    model = backbone("plain", weights).eval()
    mean, deviation = (torch.tensor(values)[:, None, None] for values in backbones.IMAGENET)
    expected = trunk(resnet, (PIXELS / 255 - mean) / deviation)  # (2, 2048, 2, 3)
    grid = model(PIXELS)
    assert grid.shape == (2, 6, 2048)
    torch.testing.assert_close(grid[:, 4], expected[:, :, 1, 1], rtol=1e-4, atol=1e-5)  # row by row


@torch.no_grad()
def test_caffes_resnet_reads_blue_first_and_strides_early(resnet, weights):
    model = backbone("caffe", weights).eval()
    blue_first = PIXELS[:, [2, 1, 0]].float() - torch.tensor([102.9801, 115.9465, 122.7717])[:, None, None]
    stem = model.network.relu(model.network.bn1(model.network.conv1(blue_first)))
    torch.testing.assert_close(stem, resnet.relu(resnet.bn1(resnet.conv1(blue_first))), rtol=1e-4, atol=1e-3)
    pooled = model.network.maxpool(torch.arange(64.0).reshape(1, 1, 8, 8))
    assert pooled.shape == (1, 1, 4, 4)  # (8 - 3) / 2 + 1, rounded up
    assert pooled[0, 0, 0].tolist() == [18, 20, 22, 23]  # no padding at the top left, what is there at the right
    for stage, stride in ((1, 1), (2, 2), (3, 2), (4, 2)):
        block = getattr(model.network, f"layer{stage}")[0]
        assert (block.conv1.stride, block.conv2.stride) == ((stride, stride), (1, 1))
    assert model(PIXELS).shape == (2, 6, 2048)


def test_the_detectors_names_are_understood(resnet, weights, tmp_path):
    numbered = {ours: theirs for theirs, ours in NUMBERED.items()}
    state = {}
    for name, value in resnet.state_dict().items():
        if name.startswith("fc."):
            continue
        prefix = next(p for p in numbered if name.startswith(p))
        state[numbered[prefix] + name.removeprefix(prefix)] = value.clone()
    save_file(state, tmp_path / "numbered.safetensors")
    one, other = backbone("caffe", weights), backbone("caffe", str(tmp_path / "numbered.safetensors"))
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_batchnorm_keeps_the_statistics_of_the_weights(weights):
    model = backbone("plain", weights).train()
    before = model.network.bn1.running_mean.clone()
    evaluated = model.eval()(PIXELS)
    torch.testing.assert_close(model.train()(PIXELS), evaluated)
    assert model.training
    model.trains_norm = True
    model.train()(PIXELS)
    assert not torch.equal(model.network.bn1.running_mean, before)


@torch.no_grad()
def test_a_backbone_of_timm_is_timms_stage(tmp_path):
    torch.manual_seed(0)
    whole = timm.create_model("test_resnet").eval()
    save_file(whole.state_dict(), tmp_path / "timm.safetensors")
    model = backbone("timm:test_resnet", str(tmp_path / "timm.safetensors"), stage=3).eval()
    half = (PIXELS / 255 - 0.5) / 0.5
    expected = timm.models.resnet.ResNet.forward_intermediates(whole, half, indices=[3], intermediates_only=True)[0]
    assert model.width == expected.shape[1] == 192
    torch.testing.assert_close(model(PIXELS), expected.flatten(2).transpose(1, 2), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_backbone_of_open_clip_is_its_last_block(tiny_clip):
    configuration, weights = tiny_clip
    model = backbone(f"open_clip:{configuration}", str(weights)).eval()
    pixels = PIXELS[:, :, :32, :32]
    assert model.width == 32
    grid = model(pixels)
    assert grid.shape == (2, 4, 32)  # 16 x 16 pixels a patch
    visual = model.network.visual
    x = visual._embeds((pixels - model.offset) / model.scale)
    torch.testing.assert_close(grid, visual.transformer(x)[:, 1:], rtol=1e-4, atol=1e-5)  # without [CLS]
    with pytest.raises(MethodError, match=r"grid.side=48: the backbone cannot read such pictures"):
        model.require_side(48, "grid.side=")
    with pytest.raises(MethodError, match=r"several weights for ViT-B-32: name them, as in --set grid.weights=laion2b"):
        backbone("open_clip:ViT-B-32", "pretrained")


@pytest.mark.parametrize(
    ("name", "stage", "message"),
    [
        ("plainn", -1, r"--set grid.backbone=plainn is not known \(did you mean 'plain'\?\)"),
        ("timm:resnet19", -1, r"timm:resnet19: timm knows no such model \(did you mean 'resnet1"),
        ("timm:test_resnet", 9, "gives no grid of features at stage 9"),
    ],
)
def test_names_that_are_not_known(name, stage, message):
    with pytest.raises(MethodError, match=message):
        backbone(name, None, stage)


def test_missing_weights_are_described(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MethodError, match=r"weights of plain, plain.pth \(1 MB, somewhere\), are neither there nor in"):
        backbone("plain", "pretrained")


def test_weights_in_torch_hubs_folder_are_found(weights, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (tmp_path / "w.pth").rename(folder / "plain.pth")
    assert backbone("plain", "pretrained").width == 2048


def test_weights_of_another_network_are_refused(weights):
    state = torch.load(weights, weights_only=True)
    state.pop("module.layer1.0.conv1.weight")
    torch.save(state, weights)
    with pytest.raises(MethodError, match=r"does not hold the weights of plain: 1 tensors .*layer1.0.conv1.weight"):
        backbone("plain", weights)


def test_labels_say_where_weights_are_from():
    assert label("timm:resnet18", None) == "timm:resnet18, no pretrained weights"
    assert label("butd-resnet101", "pretrained") == "butd-resnet101"
    assert label("butd-resnet101", "/some/place/own.pth") == "butd-resnet101, own.pth"
