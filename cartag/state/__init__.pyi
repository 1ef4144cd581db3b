from .boxes import matched as matched, overlap as overlap
from .footprint import Footprint as Footprint, digest_of as digest_of
from .former import catalog_of as catalog_of, with_names as with_names
from .index import (
    FILE_NAME as FILE_NAME,
    SCHEMA_VERSION as SCHEMA_VERSION,
    STATE_FOLDER as STATE_FOLDER,
    Foreign as Foreign,
    Index as Index,
    Place as Place,
    Stamp as Stamp,
    outcome_counts as outcome_counts,
    place_of as place_of,
    read_index as read_index,
    read_index_if_there as read_index_if_there,
    read_outcomes as read_outcomes,
    read_tags as read_tags,
    remove_leftovers as remove_leftovers,
    replace_file as replace_file,
    stamp_of as stamp_of,
    with_foreign_fields as with_foreign_fields,
    write_index as write_index,
)
from .journal import Facts as Facts, Journal as Journal, latest as latest
from .locks import replacing as replacing, running as running, writing_into as writing_into
from .rights import temporary_for as temporary_for
from .shards.folder import ShardFolder as ShardFolder, shard_folder as shard_folder
from .shards.reading import read_identities as read_identities, shard_records as shard_records
from .shards.shards import (
    ShardDone as ShardDone,
    done_shards as done_shards,
    read_header as read_header,
    remove_shard as remove_shard,
    sweep_shards as sweep_shards,
    write_header as write_header,
    write_shard as write_shard,
)
from .sharedtexts import SharedTexts as SharedTexts
from .store import Store as Store
from .whereabouts import (
    Contents as Contents,
    Whereabouts as Whereabouts,
    Word as Word,
    content_aside as content_aside,
    contents_of as contents_of,
    place_words as place_words,
    word_of as word_of,
)
