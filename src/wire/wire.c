/*
 * wire.c
 *		Writes and reads the messages of the stream; the layout is in wire.h.
 */
#include "postgres.h"

#include "libpq/pqformat.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"

#include "wire/wire.h"

#define MAX_COLUMNS		1664	/* MaxTupleAttributeNumber */
#define MAX_STUBS		65536

/* ---------- primitives ---------- */

/* Raises the error for a malformed message. */
static void
wire_malformed(const WireReader *r, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("malformed replication message: %s at offset %d of %d", what, r->pos, r->len)));
}

/* Reads n bytes. */
static inline const char *
read_bytes(WireReader *r, int n)
{
	const char *p = r->data + r->pos;

	if (n < 0 || n > r->len - r->pos)
		wire_malformed(r, "it ends early");
	r->pos += n;
	return p;
}

static inline uint8
read_byte(WireReader *r)
{
	return (uint8) *read_bytes(r, 1);
}

static inline uint16
read_u16(WireReader *r)
{
	uint16		v;

	memcpy(&v, read_bytes(r, sizeof(v)), sizeof(v));
	return pg_ntoh16(v);
}

static inline uint32
read_u32(WireReader *r)
{
	uint32		v;

	memcpy(&v, read_bytes(r, sizeof(v)), sizeof(v));
	return pg_ntoh32(v);
}

static inline uint64
read_u64(WireReader *r)
{
	uint64		v;

	memcpy(&v, read_bytes(r, sizeof(v)), sizeof(v));
	return pg_ntoh64(v);
}

/* Reads a string: length, bytes. Returns a terminated copy, palloc'd. */
static char *
read_string(WireReader *r)
{
	int			len = read_u16(r);
	const char *p = read_bytes(r, len);

	if (memchr(p, '\0', len))
		wire_malformed(r, "a name has a zero byte");
	return pnstrdup(p, len);
}

/* Reads a node number. */
static NodeId
read_node(WireReader *r)
{
	uint32		node = read_u32(r);

	if (node == 0 || node > PG_INT32_MAX)
		wire_malformed(r, "a node number is impossible");
	return (NodeId) node;
}

static inline void
write_u16(StringInfo out, uint16 v)
{
	pq_sendint16(out, v);
}

static inline void
write_u32(StringInfo out, uint32 v)
{
	pq_sendint32(out, v);
}

static inline void
write_u64(StringInfo out, uint64 v)
{
	pq_sendint64(out, v);
}

/* Writes a string, to be read by read_string(). */
static void
write_string(StringInfo out, const char *s)
{
	int			len = strlen(s);

	if (len > PG_UINT16_MAX)
		elog(ERROR, "name of %d bytes is too long to send", len);
	write_u16(out, len);
	appendBinaryStringInfo(out, s, len);
}

/* ---------- messages ---------- */

#ifdef REPLICATION_PLUGIN_NEXT
/* The commit of the pretended next protocol: a mark precedes what a commit has. */
#define COMMIT_NEXT			'c'
#define COMMIT_NEXT_MARK	0x6e657874
#endif

WireMessage
wire_read_type(WireReader *r)
{
	uint8		type = read_byte(r);

	switch (type)
	{
		case WIRE_STARTUP:
		case WIRE_BEGIN:
		case WIRE_COMMIT:
		case WIRE_RELATION:
		case WIRE_INSERT:
		case WIRE_UPDATE:
		case WIRE_DELETE:
		case WIRE_TRUNCATE:
		case WIRE_WRITE:
		case WIRE_STUB:
			return (WireMessage) type;
#ifdef REPLICATION_PLUGIN_NEXT
		case COMMIT_NEXT:
			if (read_u32(r) != COMMIT_NEXT_MARK)
				wire_malformed(r, "a commit without its mark");
			return WIRE_COMMIT;
#endif
		default:
			r->pos--;
			wire_malformed(r, "unknown message type");
	}
	return WIRE_STARTUP;
}

void
wire_write_startup(StringInfo out, const WireStartup *m)
{
	appendStringInfoChar(out, WIRE_STARTUP);
	write_u16(out, m->protocol);
	write_u32(out, m->server_version);
	write_u32(out, m->node);
	write_string(out, m->group_id);
	write_string(out, m->encoding);
	appendStringInfoChar(out, m->internal ? 1 : 0);
}

void
wire_read_startup(WireReader *r, WireStartup *m)
{
	m->protocol = read_u16(r);
	m->server_version = read_u32(r);
	m->node = read_node(r);
	m->group_id = read_string(r);
	m->encoding = read_string(r);
	m->internal = read_byte(r) != 0;
}

void
wire_write_begin(StringInfo out, const WireBegin *m)
{
	appendStringInfoChar(out, WIRE_BEGIN);
	write_u32(out, m->origin);
	write_u64(out, m->origin_lsn);
	write_u64(out, (uint64) m->commit_ts);
	write_u32(out, m->xid);
}

void
wire_read_begin(WireReader *r, WireBegin *m)
{
	m->origin = read_node(r);
	m->origin_lsn = read_u64(r);
	m->commit_ts = (TimestampTz) read_u64(r);
	m->xid = read_u32(r);
	if (m->origin_lsn == InvalidXLogRecPtr)
		wire_malformed(r, "a transaction has no LSN");
}

void
wire_write_commit(StringInfo out, const WireCommit *m)
{
	appendStringInfoChar(out, WIRE_COMMIT);
	write_u64(out, m->end_lsn);
}

#ifdef REPLICATION_PLUGIN_NEXT
void
wire_write_commit_next(StringInfo out, const WireCommit *m)
{
	appendStringInfoChar(out, COMMIT_NEXT);
	write_u32(out, COMMIT_NEXT_MARK);
	write_u64(out, m->end_lsn);
}
#endif

void
wire_read_commit(WireReader *r, WireCommit *m)
{
	m->end_lsn = read_u64(r);
}

void
wire_write_stub(StringInfo out, const WireStub *m)
{
	appendStringInfoChar(out, WIRE_STUB);
	appendStringInfoChar(out, m->more ? 1 : 0);
	write_u64(out, m->end_lsn);
	write_u32(out, m->n);
	for (int i = 0; i < m->n; i++)
	{
		write_u32(out, m->entries[i].node);
		write_u64(out, m->entries[i].lsn);
		write_u64(out, (uint64) m->entries[i].ts);
	}
}

void
wire_read_stub(WireReader *r, WireStub *m)
{
	m->more = read_byte(r) != 0;
	m->end_lsn = read_u64(r);
	m->n = (int) read_u32(r);
	if (m->n < 0 || m->n > MAX_STUBS || m->n > (r->len - r->pos) / 20)
		wire_malformed(r, "a stub has an impossible number of entries");
	m->entries = palloc(Max(m->n, 1) * sizeof(FrontierEntry));
	for (int i = 0; i < m->n; i++)
	{
		m->entries[i].node = read_node(r);
		m->entries[i].lsn = read_u64(r);
		m->entries[i].ts = (TimestampTz) read_u64(r);
	}
}

void
wire_write_relation(StringInfo out, const WireRelation *m)
{
	appendStringInfoChar(out, WIRE_RELATION);
	write_u32(out, m->relid);
	write_string(out, m->nspname);
	write_string(out, m->relname);
	appendStringInfoChar(out, m->identity);
	write_u16(out, m->natts);
	write_u16(out, m->nkeys);
	for (int i = 0; i < m->natts; i++)
	{
		const WireAttribute *a = &m->atts[i];

		write_string(out, a->name);
		write_u32(out, a->typid);
		write_u32(out, (uint32) a->typmod);
		write_string(out, a->typschema);
		write_string(out, a->typname);
		write_u16(out, a->keypos);
	}
}

void
wire_read_relation(WireReader *r, WireRelation *m)
{
	uint8		identity;
	int			keys = 0;

	m->relid = read_u32(r);
	m->nspname = read_string(r);
	m->relname = read_string(r);
	identity = read_byte(r);
	if (identity != WIRE_IDENTITY_KEY && identity != WIRE_IDENTITY_FULL &&
		identity != WIRE_IDENTITY_NONE)
		wire_malformed(r, "a relation has an unknown kind of identity");
	m->identity = (WireIdentity) identity;
	m->natts = read_u16(r);
	m->nkeys = read_u16(r);
	if (m->natts > MAX_COLUMNS || m->nkeys > m->natts)
		wire_malformed(r, "a relation has an impossible number of columns");
	m->atts = palloc0(Max(m->natts, 1) * sizeof(WireAttribute));
	for (int i = 0; i < m->natts; i++)
	{
		WireAttribute *a = &m->atts[i];

		a->name = read_string(r);
		a->typid = read_u32(r);
		a->typmod = (int32) read_u32(r);
		a->typschema = read_string(r);
		a->typname = read_string(r);
		a->keypos = read_u16(r);
		if (a->keypos > m->nkeys)
			wire_malformed(r, "a key column has an impossible place");
		keys += a->keypos > 0;
	}
	if (keys != m->nkeys || (m->identity == WIRE_IDENTITY_KEY) != (keys > 0))
		wire_malformed(r, "a relation's key does not fit its columns");
}

void
wire_write_truncate(StringInfo out, int nrels, const uint32 *relids)
{
	appendStringInfoChar(out, WIRE_TRUNCATE);
	write_u32(out, nrels);
	for (int i = 0; i < nrels; i++)
		write_u32(out, relids[i]);
}

void
wire_read_truncate(WireReader *r, int *nrels, uint32 **relids)
{
	*nrels = (int) read_u32(r);
	if (*nrels < 0 || *nrels > (r->len - r->pos) / 4)
		wire_malformed(r, "a truncate has an impossible number of tables");
	*relids = palloc(Max(*nrels, 1) * sizeof(uint32));
	for (int i = 0; i < *nrels; i++)
		(*relids)[i] = read_u32(r);
}

/* ---------- rows ---------- */

void
wire_write_insert_head(StringInfo out, uint32 relid)
{
	appendStringInfoChar(out, WIRE_INSERT);
	write_u32(out, relid);
}

void
wire_write_update_head(StringInfo out, uint32 relid, bool has_old)
{
	appendStringInfoChar(out, WIRE_UPDATE);
	write_u32(out, relid);
	appendStringInfoChar(out, has_old ? 1 : 0);
}

void
wire_write_delete_head(StringInfo out, uint32 relid)
{
	appendStringInfoChar(out, WIRE_DELETE);
	write_u32(out, relid);
}

void
wire_write_tuple_head(StringInfo out, int ncolumns)
{
	write_u16(out, ncolumns);
}

void
wire_write_null(StringInfo out)
{
	appendStringInfoChar(out, WIRE_NULL);
}

void
wire_write_unchanged(StringInfo out, bool awaited)
{
	appendStringInfoChar(out, awaited ? WIRE_AWAITED : WIRE_UNCHANGED);
}

/* A length below 255 takes one byte; a longer one a byte of 255 and four more bytes. */
void
wire_write_value(StringInfo out, WireKind kind, const char *data, int len)
{
	enlargeStringInfo(out, len + 6);
	out->data[out->len++] = (char) kind;
	if (len < 255)
		out->data[out->len++] = (char) len;
	else
	{
		uint32		n = pg_hton32((uint32) len);

		out->data[out->len++] = (char) 255;
		memcpy(out->data + out->len, &n, sizeof(n));
		out->len += sizeof(n);
	}
	memcpy(out->data + out->len, data, len);
	out->len += len;
	out->data[out->len] = '\0';
}

/* Reads one column. */
static inline void
read_column(WireReader *r, WireColumn *c)
{
	uint8		kind = read_byte(r);

	switch (kind)
	{
		case WIRE_NULL:
		case WIRE_UNCHANGED:
		case WIRE_AWAITED:
			c->kind = (WireKind) kind;
			c->len = 0;
			c->data = NULL;
			return;
		case WIRE_INTERNAL:
		case WIRE_BINARY:
		case WIRE_TEXT:
			c->kind = (WireKind) kind;
			c->len = read_byte(r);
			if (c->len == 255)
				c->len = (int) read_u32(r);
			c->data = read_bytes(r, c->len);
			return;
		default:
			r->pos--;
			wire_malformed(r, "a column has an unknown form");
	}
}

void
wire_read_tuple(WireReader *r, WireTuple *t)
{
	int			n;

	t->ncolumns = 0;			/* a row that cannot be read to its end has no columns */
	n = read_u16(r);
	if (n > MAX_COLUMNS)
		wire_malformed(r, "a row has an impossible number of columns");
	if (n > t->capacity)
	{
		t->columns = repalloc(t->columns, n * sizeof(WireColumn));
		t->capacity = n;
	}
	for (int i = 0; i < n; i++)
		read_column(r, &t->columns[i]);
	t->ncolumns = n;
}

uint32
wire_read_insert(WireReader *r, WireTuple *newtup)
{
	uint32		relid = read_u32(r);

	wire_read_tuple(r, newtup);
	return relid;
}

uint32
wire_read_update(WireReader *r, bool *has_old, WireTuple *oldtup, WireTuple *newtup)
{
	uint32		relid = read_u32(r);

	*has_old = read_byte(r) != 0;
	if (*has_old)
		wire_read_tuple(r, oldtup);
	wire_read_tuple(r, newtup);
	return relid;
}

uint32
wire_read_delete(WireReader *r, WireTuple *oldtup)
{
	uint32		relid = read_u32(r);

	wire_read_tuple(r, oldtup);
	return relid;
}

/* ---------- writes of mergeable tables ---------- */

#define WRITE_PLAIN		1
#define WRITE_EXACT		2
#define WRITE_DELETED	4
#define WRITE_FLAGS		(WRITE_PLAIN | WRITE_EXACT | WRITE_DELETED)

/* Writes a list of versions. */
static void
write_versions(StringInfo out, const Version *list, int n)
{
	write_u16(out, n);
	for (int i = 0; i < n; i++)
	{
		write_u32(out, list[i].node);
		write_u64(out, (uint64) list[i].ts);
	}
}

/* Reads a list of versions. */
static Version *
read_versions(WireReader *r, int *n)
{
	Version    *list;

	*n = read_u16(r);
	if (*n * 12 > r->len - r->pos)
		wire_malformed(r, "a list of versions is too long");
	list = palloc(Max(*n, 1) * sizeof(Version));
	for (int i = 0; i < *n; i++)
	{
		list[i].node = read_node(r);
		list[i].ts = (TimestampTz) read_u64(r);
	}
	return list;
}

void
wire_write_write_head(StringInfo out, const WireWrite *m)
{
	const WriteContext *c = &m->context;
	int			nseen = c->seen ? c->seen->n : 0;

	appendStringInfoChar(out, WIRE_WRITE);
	write_u32(out, m->relid);
	appendStringInfoChar(out, (c->plain ? WRITE_PLAIN : 0) | (c->exact ? WRITE_EXACT : 0) |
								  (m->deleted ? WRITE_DELETED : 0));
	appendStringInfoChar(out, (char) c->oldest);
	write_versions(out, c->replaces, c->nreplaces);
	write_versions(out, c->keeps, c->nkeeps);
	write_u16(out, nseen);
	for (int i = 0; i < nseen; i++)
	{
		write_u32(out, c->seen->entries[i].node);
		write_u64(out, (uint64) c->seen->entries[i].ts);
	}
	write_u16(out, m->nmerges);
	for (int i = 0; i < m->nmerges; i++)
	{
		write_u16(out, m->merges[i].column);
		write_u32(out, m->merges[i].len);
		appendBinaryStringInfo(out, m->merges[i].data, m->merges[i].len);
	}
}

/* Reads the vector of the writes that the writer had seen. */
static Frontier *
read_seen(WireReader *r)
{
	Frontier   *f = frontier_create();
	int			n;
	Version    *list = read_versions(r, &n);

	for (int i = 0; i < n; i++)
		frontier_raise(f, list[i].node, InvalidXLogRecPtr, list[i].ts);
	pfree(list);
	return f;
}

/* Reads the merges of columns. */
static void
read_merges(WireReader *r, WireWrite *m)
{
	m->nmerges = read_u16(r);
	if (m->nmerges > MAX_COLUMNS)
		wire_malformed(r, "a write has an impossible number of column merges");
	m->merges = palloc(Max(m->nmerges, 1) * sizeof(WireMerge));
	for (int i = 0; i < m->nmerges; i++)
	{
		m->merges[i].column = read_u16(r);
		m->merges[i].len = (int) read_u32(r);
		m->merges[i].data = read_bytes(r, m->merges[i].len);
	}
}

void
wire_read_write(WireReader *r, WireWrite *m, WireTuple *t)
{
	uint8		flags;
	uint8		oldest;

	memset(m, 0, sizeof(*m));
	m->relid = read_u32(r);
	flags = read_byte(r);
	oldest = read_byte(r);
	if ((flags & ~WRITE_FLAGS) != 0 || oldest > OLDEST_KEPT)
		wire_malformed(r, "a write has unknown flags");
	m->context.plain = (flags & WRITE_PLAIN) != 0;
	m->context.exact = (flags & WRITE_EXACT) != 0;
	m->deleted = (flags & WRITE_DELETED) != 0;
	m->context.oldest = (OldestFate) oldest;
	m->context.replaces = read_versions(r, &m->context.nreplaces);
	m->context.keeps = read_versions(r, &m->context.nkeeps);
	m->context.seen = read_seen(r);
	read_merges(r, m);
	wire_read_tuple(r, t);
}
