"""The networks that there are to choose from, for describing photos and for training.

Facts about them, no library loaded: their names, where Keras keeps their ImageNet weights, where fine-tuning cuts them.
"""

from __future__ import annotations

from dataclasses import dataclass

INPUT_PIXELS = 224
"""Width and height of every network's input."""


@dataclass(frozen=True)
class Backbone:
    """A network without its head, as ``keras.applications`` builds it.

    All take ``(batch, 224, 224, 3)``, RGB values 0..255, and scale them inside; all give ``(batch, features)``, the
    average over places of the last feature map.
    """

    name: str
    """As ``--embedder`` takes it."""
    title: str
    """As its authors write it."""
    builder: str
    """Its function in ``keras.applications``."""
    features: int
    """Length of the vector it gives for a photo."""
    keras_file: str
    """Keras' name for its own download."""
    keras_module: str
    """Module of ``keras.src.applications`` that keeps the address and the hash of that download."""
    keras_address: str
    """The constant of that module which holds the address."""
    keras_hash: str
    """The key of that module's ``WEIGHTS_HASHES``, which gives the hash of the file with a head, then of the one
    without; or, where the module has no such table, the hash of the file without a head."""
    keras_head_file: str | None = None
    """Keras' name for its download with ImageNet's head; None where that head does not start at the vector, or where
    the network only serves training."""
    scales: bool = True
    """Whether Keras' own network scales its input; to the others a layer that does is added: to -1..1."""
    embeds: bool = False
    """Whether ``clean`` offers it to describe photos."""
    last_blocks: str = ""
    """The first layer of the last blocks, which fine-tuning trains first."""
    deeper: str = ""
    """The first layer of what it trains then, about the second half of the network."""

    @property
    def known_files(self) -> tuple[str, str]:
        """Names under which a folder of weights is searched: a file that Keras 3 saved, then Keras' download."""
        return f"{self.name}_imagenet_notop.weights.h5", self.keras_file

    @property
    def known_head_files(self) -> tuple[str, ...]:
        """The same of the network with its head; some releases have a 1001st class, the background."""
        own = tuple(f"{self.name}_imagenet_top{classes}.weights.h5" for classes in ("", "1000", "1001"))
        return (*own, self.keras_head_file) if self.keras_head_file else ()


#: MobileNetV3: Howard et al. 2019, Searching for MobileNetV3, https://arxiv.org/abs/1905.02244.
#: EfficientNetV2: Tan and Le 2021, https://arxiv.org/abs/2104.00298.
#: ConvNeXt: Liu et al. 2022, A ConvNet for the 2020s, https://arxiv.org/abs/2201.03545.
#: ResNet V2: He et al. 2016, https://arxiv.org/abs/1603.05027. Xception: Chollet 2017, https://arxiv.org/abs/1610.02357.
BACKBONES = {
    backbone.name: backbone
    for backbone in (
        Backbone(
            name="mobilenet_v3_small",
            title="MobileNetV3-Small",
            builder="MobileNetV3Small",
            features=576,
            keras_file="weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
            keras_module="mobilenet_v3",
            keras_address="BASE_WEIGHT_PATH",
            keras_hash="small_224_1.0_float",
            keras_head_file="weights_mobilenet_v3_small_224_1.0_float.h5",
            embeds=True,
            last_blocks="expanded_conv_8_expand",
            deeper="expanded_conv_3_expand",
        ),
        Backbone(
            name="mobilenet_v3_large",
            title="MobileNetV3-Large",
            builder="MobileNetV3Large",
            features=960,
            keras_file="weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
            keras_module="mobilenet_v3",
            keras_address="BASE_WEIGHT_PATH",
            keras_hash="large_224_1.0_float",
            keras_head_file="weights_mobilenet_v3_large_224_1.0_float.h5",
            embeds=True,
            last_blocks="expanded_conv_12_expand",
            deeper="expanded_conv_6_expand",
        ),
        Backbone(
            name="efficientnet_v2_s",
            title="EfficientNetV2-S",
            builder="EfficientNetV2S",
            features=1280,
            keras_file="efficientnetv2-s_notop.h5",
            keras_module="efficientnet_v2",
            keras_address="BASE_WEIGHTS_PATH",
            keras_hash="-s",
            keras_head_file="efficientnetv2-s.h5",
            embeds=True,
            last_blocks="block6a_expand_conv",
            deeper="block4a_expand_conv",
        ),
        Backbone(
            name="convnext_tiny",
            title="ConvNeXt-Tiny",
            builder="ConvNeXtTiny",
            features=768,
            keras_file="convnext_tiny_notop.h5",
            keras_module="convnext",
            keras_address="BASE_WEIGHTS_PATH",
            keras_hash="convnext_tiny",
            embeds=True,
            last_blocks="convnext_tiny_downsampling_block_2",
            deeper="convnext_tiny_downsampling_block_1",
        ),
        Backbone(
            name="efficientnet_v2_m",
            title="EfficientNetV2-M",
            builder="EfficientNetV2M",
            features=1280,
            keras_file="efficientnetv2-m_notop.h5",
            keras_module="efficientnet_v2",
            keras_address="BASE_WEIGHTS_PATH",
            keras_hash="-m",
            last_blocks="block7a_expand_conv",
            deeper="block5a_expand_conv",
        ),
        Backbone(
            name="resnet50_v2",
            title="ResNet50V2",
            builder="ResNet50V2",
            features=2048,
            keras_file="resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
            keras_module="resnet",
            keras_address="BASE_WEIGHTS_PATH",
            keras_hash="resnet50v2",
            scales=False,
            last_blocks="conv5_block1_preact_bn",
            deeper="conv4_block1_preact_bn",
        ),
        Backbone(
            name="xception",
            title="Xception",
            builder="Xception",
            features=2048,
            keras_file="xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
            keras_module="xception",
            keras_address="WEIGHTS_PATH_NO_TOP",
            keras_hash="b0042744bf5b25fce3cb969f33bebb97",
            scales=False,
            last_blocks="block13_sepconv1_act",
            deeper="block9_sepconv1_act",
        ),
    )
}

DEFAULT_BACKBONE = "mobilenet_v3_small"

#: What ``clean`` offers to describe photos with; ``classic`` needs no weights.
EMBEDDERS = (*(backbone.name for backbone in BACKBONES.values() if backbone.embeds), "classic")
