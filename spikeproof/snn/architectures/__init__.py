"""Which bodies are there? Each is written once, for any neuron; with ReLU it is the ANN."""

from spikeproof.snn.architectures.architecture import Architecture
from spikeproof.snn.architectures.mlp import MLP
from spikeproof.snn.architectures.resnet import SEWResNet, SpikingResNet
from spikeproof.snn.architectures.small_cnn import SmallCNN
from spikeproof.snn.architectures.vgg import VGG
from spikeproof.snn.architectures.wide_resnet import WideResNet
from spikeproof.snn.layers import ConvexCombination

__all__ = ["MLP", "VGG", "Architecture", "ConvexCombination", "SEWResNet", "SmallCNN", "SpikingResNet", "WideResNet"]
