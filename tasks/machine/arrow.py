"""Arrow's threads are started while they can be, not when a table is read.

Where the system refuses a thread (`ulimit -v`, `ulimit -u`, a limit on pids), Arrow up to 25 counts it as started and
waits for it for ever: in `pq.read_table`, at `arrow::FutureImpl::Wait` (apache/arrow#48137). A pool that has all its
threads asks for none.
"""

from functools import cache
from io import BytesIO


@cache  # a worker of a cluster asks before each batch
def start_arrow_threads(computing: int | None = None) -> None:
    """Start the threads of Arrow's pools in this process: one that reads files, and those that compute.

    Takes some milliseconds beyond the import. Without memory for them the process is aborted here and now.

    Args:
        computing: how many of the latter there are from now on; None leaves them at Arrow's own, one a core.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if computing is not None:
        pa.set_cpu_count(computing)
    pa.set_io_thread_count(1)  # it starts further ones only while the first is busy, at moments that nobody can choose
    file = BytesIO()  # unlike a buffer of Arrow's it is read in a thread
    columns = 4 * pa.cpu_count()  # all are there before the first thread has emptied the queue
    pq.write_table(pa.table([pa.nulls(1, pa.int64())] * columns, [str(number) for number in range(columns)]), file)
    pq.ParquetFile(file, pre_buffer=True).read()
