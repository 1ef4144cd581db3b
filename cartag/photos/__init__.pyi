from .cutting import pieces as pieces
from .framing import PICTURE as PICTURE, is_panorama as is_panorama, tiles as tiles
from .images import (
    content_hash as content_hash,
    cut as cut,
    decode as decode,
    glances as glances,
    orientation as orientation,
    read_bytes as read_bytes,
    read_photo as read_photo,
    shaped as shaped,
    small_jpeg as small_jpeg,
)
from .pagefolder import (
    check_holds_no_photo as check_holds_no_photo,
    check_is_no_gallery as check_is_no_gallery,
    is_gallery as is_gallery,
)
from .raw import reads_raw as reads_raw
from .reading import Reader as Reader, ReadPhoto as ReadPhoto, batch_size as batch_size
from .sources import NO_NAME as NO_NAME, Source as Source, etag_of as etag_of, source_of as source_of
from .walking import (
    RawPairs as RawPairs,
    Walk as Walk,
    Walking as Walking,
    identified as identified,
    is_raw as is_raw,
    say_pairs as say_pairs,
    walk as walk,
)
