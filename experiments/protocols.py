"""How the paper tests a trained network: section 6, the appendix, and the captions of Tables 4 and 7.

A protocol is not part of an experiment's identity: a new one never retrains. Sources: [P] the paper, [S] the authors'
released scripts and configurations, [I] inferred because nothing states it.
"""

from dataclasses import replace

from experiments.spec import Protocol

# [S] short side to 256, centre crop; [P] 224, and the 50,000 validation images.
CROP224 = Protocol("crop224", "imagenet", crop=224, resize=256, samples=50_000)

# [P] the network trained at 224, tested at 320 (Table 4). [I] 366 keeps the ratio of 224 to 256; nobody states it.
CROP320 = Protocol("crop320", "imagenet", crop=320, resize=366, samples=50_000)

# [S] long side to 512, windows of 473 sliding by two thirds, mirrored image averaged even at a single scale;
# intersections and unions summed over the 2,000 validation images [P].
SINGLE_SCALE = Protocol("single-scale", "ade20k", crop=473, resize=512, flip=True, samples=2_000)

# [P] the same at six scales, predictions averaged.
MULTI_SCALE = replace(SINGLE_SCALE, key="multi-scale", scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75))

# [P] Table 7's dagger: windows of 617 for inference only. [I] at the same scales of the same long side of 512.
CROP617 = replace(MULTI_SCALE, key="crop617", crop=617)

# [P] labels of the test split are with the ADE20K server only. [I] multi-scale as on the validation split. The paper
# rounds the number of images to 3K, so no complete count is stated.
TEST_SERVER = replace(MULTI_SCALE, key="test-server", split="test", samples=None)

# [P] 300 x 300 on val2017's 5,000 images; the image is stretched to the square, as SSD does.
COCO300 = Protocol("coco300", "coco", crop=300, resize=300, samples=5_000)

# [P] up to 10 clips x 3 spatial crops a video, short side 256, softmax averaged. [I] crops of 256 pixels, the
# common practice that the paper says it follows. Copies of the validation split hold 19,404 to 19,796 videos: no count
# is the complete one.
VIEWS30 = Protocol("views30", "kinetics", crop=256, resize=256, views=(10, 3))
