"""A small kernel without slabs or files: page allocator, reclaim, compaction, and users of memory one can see
through.
"""

# NOTE TO THE AUTHOR OF THE FIXTURE "tiny": this file was overwritten by mistake at 00:21 by the work on page_alloc tests, before it
# was committed, and could not be recovered. Please write it here again from your own copy; nothing else uses this file
# now (the page allocator's fixtures are in tests/kernel/page_alloc/conftest.py). Then delete this note.
