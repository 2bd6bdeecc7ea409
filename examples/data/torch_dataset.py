"""A torch `Dataset`; a fixed fifth of it becomes the test set. From this folder: `--data torch_dataset:Squares`."""

from PIL import Image, ImageDraw
from torch.utils.data import Dataset


class Squares(Dataset):
    """Filled and empty squares as PIL images; tensors and arrays will do as well."""

    classes = ("filled", "empty")

    def __len__(self) -> int:
        """So many images."""
        return 400

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """One image and its label; the same one each time, so nothing random belongs here."""
        label, place = index % 2, index // 2 % 25
        image = Image.new("L", (12, 12), color=index // 50)
        corner = place % 5, place // 5
        box = (*corner, corner[0] + 6, corner[1] + 6)
        ImageDraw.Draw(image).rectangle(box, fill=255 if label == 0 else None, outline=255)
        return image, label
