"""Objects lie exactly where the tables and people look for them."""

import pytest

from components.layout import DATE, Layout

EWR = {"year": 2013, "month": 1, "day": 5, "device": "EWR"}


@pytest.mark.requirement("cat-part-time")
def test_queries_by_time_begin_with_the_date() -> None:
    layout = Layout("dataset/", (*DATE, "device"))
    assert f"s3://my-bucket/{layout.folder(**EWR)}" == "s3://my-bucket/dataset/2013/01/05/EWR/"
    assert layout.template == "dataset/${year}/${month}/${day}/${device}/"


@pytest.mark.requirement("cat-part-device")
def test_queries_by_device_begin_with_the_device() -> None:
    layout = Layout("dataset/", ("device", *DATE))
    assert f"s3://my-bucket/{layout.folder(**EWR)}" == "s3://my-bucket/dataset/EWR/2013/01/05/"
    assert layout.template == "dataset/${device}/${year}/${month}/${day}/"


@pytest.mark.requirement("st-partition-product")
def test_queries_by_product_have_a_folder_a_product() -> None:
    layout = Layout("my-data-set/", ("product_id",))
    key = layout.folder(product_id="product-id") + "data_32.csv"
    assert f"s3://bucket/{key}" == "s3://bucket/my-data-set/product-id/data_32.csv"


def test_named_folders_say_what_they_are() -> None:
    layout = Layout("flights/", DATE, named=True)
    assert layout.folder(year=2013, month=1, day=5) == "flights/year=2013/month=01/day=05/"
    assert layout.template == "flights/year=${year}/month=${month}/day=${day}/"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"year": 2013}, "dataset/ is partitioned by device, year, month, day, not year"),
        (EWR | {"device": "EW/R"}, "device can't be a folder's name"),
        (EWR | {"device": ""}, "device can't be a folder's name"),
    ],
)
def test_refuses_what_would_lie_elsewhere(values: dict[str, str | int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Layout("dataset/", ("device", *DATE)).folder(**values)
