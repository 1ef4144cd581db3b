from .boxes import in_digits as in_digits, matched as matched, overlap as overlap
from .footprint import Footprint as Footprint, digest_of as digest_of
from .former import catalog_of as catalog_of, with_added_cars as with_added_cars, with_names as with_names
from .index import (
    SCHEMA_VERSION as SCHEMA_VERSION,
    Foreign as Foreign,
    Index as Index,
    Stamp as Stamp,
    TagIndex as TagIndex,
    folder_of as folder_of,
    outcome_counts as outcome_counts,
    remove_leftovers as remove_leftovers,
    replace_file as replace_file,
)
from .inspection import CacheState as CacheState, drop_rotten as drop_rotten, inspect_cache as inspect_cache
from .journal import Facts as Facts, Journal as Journal, latest as latest
from .locks import (
    holder_of as holder_of,
    replacing as replacing,
    running as running,
    writing_into as writing_into,
)
from .opening import (
    all_looks as all_looks,
    has_shards as has_shards,
    lacks_header as lacks_header,
    lacks_shards as lacks_shards,
    load as load,
    open_index as open_index,
    open_store as open_store,
    place_of as place_of,
    read_index as read_index,
    read_index_if_there as read_index_if_there,
    read_tags as read_tags,
    read_tally as read_tally,
    shards_at as shards_at,
    stamp_of as stamp_of,
    tag_as_typed as tag_as_typed,
    with_foreign_fields as with_foreign_fields,
    write_index as write_index,
)
from .place import FILE_NAME as FILE_NAME, STATE_FOLDER as STATE_FOLDER, Place as Place
from .rights import make_folder as make_folder, sync_folder as sync_folder, temporary_for as temporary_for
from .shards.columns import Looks as Looks
from .shards.folder import ShardFolder as ShardFolder, shard_folder as shard_folder
from .shards.inspecting import (
    DoneFiles as DoneFiles,
    empty_damaged as empty_damaged,
    empty_shard as empty_shard,
    files_of_shard as files_of_shard,
    inspect_said as inspect_said,
    left_over_files as left_over_files,
    needed_tombstones as needed_tombstones,
    output_fault as output_fault,
    outputs_of as outputs_of,
    read_done_files as read_done_files,
    readable_records as readable_records,
    remake_shard as remake_shard,
    tagged_paths as tagged_paths,
)
from .shards.near import nearly_nearest as nearly_nearest
from .shards.nearest import nearest as nearest
from .shards.reading import (
    read_identities as read_identities,
    shard_records as shard_records,
    taken_names as taken_names,
)
from .shards.said import Said as Said, read_said as read_said, write_said as write_said
from .shards.sharded import ShardedIndex as ShardedIndex
from .shards.shards import (
    ShardDone as ShardDone,
    done_shards as done_shards,
    every_shard as every_shard,
    living as living,
    read_foreign_header as read_foreign_header,
    read_header as read_header,
    remove_shard as remove_shard,
    sweep_shards as sweep_shards,
    write_header as write_header,
    write_shard as write_shard,
)
from .sharedtexts import SharedTexts as SharedTexts
from .store import Store as Store
from .tally import Tally as Tally
from .views import Views as Views, views_among as views_among, views_of as views_of
from .whereabouts import (
    Contents as Contents,
    Whereabouts as Whereabouts,
    Word as Word,
    content_aside as content_aside,
    contents_of as contents_of,
    place_words as place_words,
    word_of as word_of,
)
