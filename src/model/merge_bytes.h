/*
 * merge_bytes.h
 *		The bytes of states and ops of merged columns.
 *
 *	state, op	u8 tag, u8 flags, count n, n versions, body
 *	version		u64 timestamp, u32 node (0: the oldest, or VERSION_SELF);
 *				in the body: the index in the list
 *	count		7 bits a byte, the lowest first, the high bit set in all but the last
 *	bytes		count, bytes
 *
 * Integers are in network byte order, strings in the encoding that all nodes share. In an op, the
 * list has the versions that the op removes and that the writer had seen beyond its vector.
 * VERSION_SELF in an op is the op's own version.
 */
#ifndef REPLICATION_PLUGIN_MERGE_BYTES_H
#define REPLICATION_PLUGIN_MERGE_BYTES_H

#include "lib/stringinfo.h"
#include "utils/numeric.h"

#include "base/compat.h"
#include "model/merge.h"

/* Tags of states and ops. The meaning of the flags depends on the kind, except for one flag. */
#define MERGE_STATE(kind)	((uint8) ('a' + (kind)))
#define MERGE_OP(kind)		((uint8) ('A' + (kind)))
#define MERGE_HAS_TOTALS	0x80	/* no heap row can stand for this state while the row is live */

typedef struct MergeWriter
{
	StringInfoData body;
	int			nversions;
	int			room;
	Version    *versions;
} MergeWriter;

typedef struct MergeReader
{
	const char *data;
	int			len;
	int			pos;
	uint8		flags;
	bool		unresolved;		/* has VERSION_SELF */
	int			nversions;
	Version    *versions;
} MergeReader;

extern void merge_writer_init(MergeWriter *w);
extern void merge_write_count(MergeWriter *w, uint64 n);
extern void merge_write_version(MergeWriter *w, Version v);
extern void merge_write_bytes(MergeWriter *w, const char *data, int len);
extern void merge_write_numeric(MergeWriter *w, Numeric value);

/* Adds a version to the list without a reference from the body. Returns its index. */
extern int	merge_list_version(MergeWriter *w, Version v);
extern bytea *merge_writer_finish(MergeWriter *w, uint8 tag, uint8 flags);

/*
 * Functions that read raise ERRCODE_PROTOCOL_VIOLATION if the bytes are malformed. VERSION_SELF is
 * read as self.
 */
extern void merge_reader_init(MergeReader *r, const char *data, int len, uint8 tag, Version self);
extern uint64 merge_read_count(MergeReader *r);

/* Reads a number of things that take at least one byte each. */
extern int	merge_read_length(MergeReader *r);
extern Version merge_read_version(MergeReader *r);
extern NodeId merge_read_node(MergeReader *r);
extern const char *merge_read_bytes(MergeReader *r, int *len);

/* Reads bytes that are valid text, without a terminating zero. */
extern const char *merge_read_text(MergeReader *r, int *len);

/* Reads bytes that are valid texts, each with a terminating zero. */
extern const char *merge_read_path(MergeReader *r, int *len);
extern Numeric merge_read_numeric(MergeReader *r);
extern void merge_read_end(MergeReader *r);
pg_noreturn extern void merge_malformed(const MergeReader *r, const char *what);

#endif							/* REPLICATION_PLUGIN_MERGE_BYTES_H */
