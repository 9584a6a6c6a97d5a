/*
 * wire.h
 *		The stream between nodes.
 *
 * A CopyData payload (after the walsender's own header) contains one or more messages, each a type
 * byte and a body. Integers are in network byte order. "str" is a u16 length and that many bytes,
 * without a terminating zero. "node" is a u32 from 1.
 *
 *	S startup	u16 protocol, u32 server version, node, str group id, str encoding, u8 internal
 *	B begin		node origin, u64 origin LSN, u64 commit timestamp (us since 2000), u32 xid
 *	C commit	u64 end LSN in the provider's WAL
 *	R relation	u32 id, str schema, str table, u8 identity (k, f, n), u16 columns, u16 key columns,
 *				per column: str name, u32 type oid, u32 typmod, str type schema, str type
 *				name, u16 position in the key (0: none)
 *	I insert	u32 relation, row
 *	U update	u32 relation, u8 has old, [row or key,] row
 *	D delete	u32 relation, key (key columns in key order; without a key the whole old row)
 *	T truncate	u32 n, n times u32 relation
 *	W write		of a mergeable table, or (plain) of a row that is parked at the provider:
 *				u32 relation, u8 flags (1 plain, 2 exact, 4 deleted), u8 oldest (OldestFate),
 *				three lists of versions (u16 n, n times: node, u64 timestamp): replaced, kept,
 *				seen; u16 n, n times: u16 column (from 0, of those in the relation message),
 *				u32 length, bytes of a column merge; row, or key if deleted
 *	X stub		u8 1 if more is held back, u64 end LSN in the provider's WAL, u32 n, n times: node,
 *				u64 LSN, u64 timestamp
 *
 *	row, key	u16 columns, per column: u8 form (WireKind); for i, b, t: u8 length, or 255 and
 *				u32 length; bytes
 *
 * A transaction is B, rows, C; it begins at the beginning of a payload and ends at the end of one.
 * A relation message precedes the first row of its relation, inside the transaction. A stub is a
 * payload of its own, between transactions. The startup message is the first of all messages, and
 * has the protocol that both ends speak. A type byte stands for one body in all protocols: what a
 * newer protocol says otherwise has a type byte of its own, as messages are also stored
 * (docs/protocol.md, Versions).
 */
#ifndef REPLICATION_PLUGIN_WIRE_H
#define REPLICATION_PLUGIN_WIRE_H

#include "access/xlogdefs.h"
#include "lib/stringinfo.h"
#include "utils/palloc.h"

#include "model/frontier.h"
#include "model/sibling.h"
#include "model/version.h"

/* Type byte of a message. One CopyData payload holds one or more messages. */
typedef enum WireMessage
{
	WIRE_STARTUP = 'S',
	WIRE_BEGIN = 'B',
	WIRE_COMMIT = 'C',
	WIRE_RELATION = 'R',
	WIRE_INSERT = 'I',
	WIRE_UPDATE = 'U',
	WIRE_DELETE = 'D',
	WIRE_TRUNCATE = 'T',		/* keyless tables only; for others, one delete per row */
	/* also the content of the transactional logical message of a write */
	WIRE_WRITE = 'W',
	WIRE_STUB = 'X'
} WireMessage;

/* How a column value is written. */
typedef enum WireKind
{
	WIRE_NULL = 'n',
	WIRE_UNCHANGED = 'u',		/* unsent value: TOASTed, and not changed by the update */
	/*
	 * the same, if the sender may have updated another row than the receiver has
	 * (catalog/awaited.h)
	 */
	WIRE_AWAITED = 'a',
	/* the datum's bytes: fixed length as in memory, varlena payload without header */
	WIRE_INTERNAL = 'i',
	WIRE_BINARY = 'b',			/* typsend */
	WIRE_TEXT = 't'				/* typoutput */
} WireKind;

typedef struct WireColumn
{
	WireKind	kind;
	int			len;
	const char *data;			/* points into the message: not terminated, not aligned */
} WireColumn;

/* A row or key of ncolumns values. The next read reuses, and may enlarge, columns. */
typedef struct WireTuple
{
	int			ncolumns;
	int			capacity;
	WireColumn *columns;
} WireTuple;

#define WIRE_TUPLE_COLUMNS	32		/* initial room of a tuple */

/* Makes an empty tuple whose columns are allocated, and enlarged, in the given context. */
static inline void
wire_tuple_init(WireTuple *t, MemoryContext context)
{
	t->ncolumns = 0;
	t->capacity = WIRE_TUPLE_COLUMNS;
	t->columns = MemoryContextAlloc(context, t->capacity * sizeof(WireColumn));
}

typedef struct WireStartup
{
	int			protocol;
	int			server_version; /* server_version_num of the provider */
	NodeId		node;			/* provider */
	char	   *group_id;		/* uuid text */
	char	   *encoding;
	bool		internal;		/* the provider sends WIRE_INTERNAL to this subscriber */
} WireStartup;

typedef struct WireBegin
{
	NodeId		origin;			/* node on which the transaction was first written */
	XLogRecPtr	origin_lsn;		/* end of its commit record there */
	TimestampTz commit_ts;		/* its commit timestamp there */
	TransactionId xid;			/* on the provider */
} WireBegin;

typedef struct WireCommit
{
	/* position in the provider's WAL that is passed with this transaction */
	XLogRecPtr	end_lsn;
} WireCommit;

/*
 * Tells that the provider has applied the transactions in entries before those that follow. The
 * subscriber gets their rows by another link.
 */
typedef struct WireStub
{
	XLogRecPtr	end_lsn;		/* position in the provider's WAL */
	int			n;
	FrontierEntry *entries;		/* palloc'd */
	/* other stubs are held back: until the next message, keepalives have no meaning */
	bool		more;
} WireStub;

/* The op that a write merges into one column (model/merge.h). */
typedef struct WireMerge
{
	int			column;			/* index among the columns sent */
	int			len;
	const char *data;			/* points into the message */
} WireMerge;

/* A write of a mergeable table. */
typedef struct WireWrite
{
	uint32		relid;
	WriteContext context;
	bool		deleted;
	int			nmerges;
	WireMerge  *merges;			/* palloc'd, like the lists of the context */
} WireWrite;

typedef enum WireIdentity
{
	WIRE_IDENTITY_KEY = 'k',	/* rows are found by key columns */
	WIRE_IDENTITY_FULL = 'f',	/* no key: REPLICA IDENTITY FULL, by all columns */
	WIRE_IDENTITY_NONE = 'n'	/* no key, inserts only */
} WireIdentity;

typedef struct WireAttribute
{
	char	   *name;
	/* provider's OID; has the same meaning here, in any version, only if < FirstGenbkiObjectId */
	Oid			typid;
	int32		typmod;
	char	   *typschema;		/* schema of the type, "" if its OID says all */
	char	   *typname;
	int			keypos;			/* from 1, in index order, for key columns; else 0 */
} WireAttribute;

/* Sent before the first row of a relation, and after every change of it. */
typedef struct WireRelation
{
	uint32		relid;			/* provider's id, by which row messages name the relation */
	char	   *nspname;
	char	   *relname;
	WireIdentity identity;
	int			natts;			/* number of columns: all that are neither dropped nor generated */
	int			nkeys;
	WireAttribute *atts;
} WireRelation;

/*
 * A reader. The functions that read raise ERRCODE_PROTOCOL_VIOLATION, with the offset, if a message
 * ends early, a length is impossible or a byte has no meaning.
 */
typedef struct WireReader
{
	const char *data;
	int			len;
	int			pos;
} WireReader;

static inline bool
wire_at_end(const WireReader *r)
{
	return r->pos >= r->len;
}

extern WireMessage wire_read_type(WireReader *r);
extern void wire_read_startup(WireReader *r, WireStartup *m);
extern void wire_read_begin(WireReader *r, WireBegin *m);
extern void wire_read_commit(WireReader *r, WireCommit *m);
extern void wire_read_stub(WireReader *r, WireStub *m);
extern void wire_read_relation(WireReader *r, WireRelation *m);

/* Read rows. Each function returns the provider's relid. */
extern uint32 wire_read_insert(WireReader *r, WireTuple *newtup);

/*
 * oldtup receives the old key (key columns in key order), or for keyless tables the whole old row,
 * if *has_old.
 */
extern uint32 wire_read_update(WireReader *r, bool *has_old, WireTuple *oldtup, WireTuple *newtup);

/* oldtup receives the key (key columns in key order), or for keyless tables the whole old row. */
extern uint32 wire_read_delete(WireReader *r, WireTuple *oldtup);
extern void wire_read_truncate(WireReader *r, int *nrels, uint32 **relids);

/* Reads a write. The tuple receives the row, or the key if the write is a delete. */
extern void wire_read_write(WireReader *r, WireWrite *m, WireTuple *t);

/* Reads a tuple. This is also the stored form of the key of a tombstone. */
extern void wire_read_tuple(WireReader *r, WireTuple *t);

extern void wire_write_startup(StringInfo out, const WireStartup *m);
extern void wire_write_begin(StringInfo out, const WireBegin *m);
extern void wire_write_commit(StringInfo out, const WireCommit *m);
#ifdef REPLICATION_PLUGIN_NEXT
extern void wire_write_commit_next(StringInfo out, const WireCommit *m);
#endif
extern void wire_write_stub(StringInfo out, const WireStub *m);
extern void wire_write_relation(StringInfo out, const WireRelation *m);
extern void wire_write_truncate(StringInfo out, int nrels, const uint32 *relids);

/*
 * Row messages are written as a head and then the tuples:
 *	insert: head, tuple; delete: head, tuple;
 *	update: head with has_old, [old tuple,] new tuple.
 * A tuple is its number of columns, and then that many columns.
 */
extern void wire_write_insert_head(StringInfo out, uint32 relid);
extern void wire_write_update_head(StringInfo out, uint32 relid, bool has_old);
extern void wire_write_delete_head(StringInfo out, uint32 relid);

/* Writes the head of a write, with the type byte. The tuple follows. */
extern void wire_write_write_head(StringInfo out, const WireWrite *m);
extern void wire_write_tuple_head(StringInfo out, int ncolumns);
extern void wire_write_null(StringInfo out);
extern void wire_write_unchanged(StringInfo out, bool awaited);
extern void wire_write_value(StringInfo out, WireKind kind, const char *data, int len);

#endif							/* REPLICATION_PLUGIN_WIRE_H */
