/*
 * merge_bytes.c
 *		Writes and reads the bytes of states and ops; the layout is in merge_bytes.h.
 */
#include "postgres.h"

#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"

#include "model/merge_bytes.h"

#define VERSION_BYTES	12
#define LOOK_BACK		8		/* number of versions that are searched for an equal one */

/* ---------- writing ---------- */

void
merge_writer_init(MergeWriter *w)
{
	initStringInfo(&w->body);
	w->nversions = 0;
	w->room = 8;
	w->versions = palloc(w->room * sizeof(Version));
}

void
merge_write_count(MergeWriter *w, uint64 n)
{
	while (n >= 0x80)
	{
		appendStringInfoCharMacro(&w->body, (char) (n | 0x80));
		n >>= 7;
	}
	appendStringInfoCharMacro(&w->body, (char) n);
}

/*
 * Returns the index of a version in the list, and adds the version if it is not found. Equal
 * versions are close together, and it is not necessary to find all of them.
 */
int
merge_list_version(MergeWriter *w, Version v)
{
	for (int i = w->nversions - 1; i >= 0 && i >= w->nversions - LOOK_BACK; i--)
	{
		if (version_cmp(w->versions[i], v) == 0)
			return i;
	}
	if (w->nversions == w->room)
	{
		w->room *= 2;
		w->versions = repalloc(w->versions, w->room * sizeof(Version));
	}
	w->versions[w->nversions] = v;
	return w->nversions++;
}

void
merge_write_version(MergeWriter *w, Version v)
{
	merge_write_count(w, merge_list_version(w, v));
}

void
merge_write_bytes(MergeWriter *w, const char *data, int len)
{
	merge_write_count(w, len);
	appendBinaryStringInfo(&w->body, data, len);
}

void
merge_write_numeric(MergeWriter *w, Numeric value)
{
	bytea	   *b = DatumGetByteaPP(DirectFunctionCall1(numeric_send, NumericGetDatum(value)));

	merge_write_bytes(w, VARDATA_ANY(b), VARSIZE_ANY_EXHDR(b));
}

bytea *
merge_writer_finish(MergeWriter *w, uint8 tag, uint8 flags)
{
	MergeWriter head;
	StringInfoData *out = &head.body;
	bytea	   *result;

	merge_writer_init(&head);
	appendStringInfoSpaces(out, VARHDRSZ);
	appendStringInfoCharMacro(out, (char) tag);
	appendStringInfoCharMacro(out, (char) flags);
	merge_write_count(&head, w->nversions);
	for (int i = 0; i < w->nversions; i++)
	{
		pq_sendint64(out, (uint64) w->versions[i].ts);
		pq_sendint32(out, (uint32) w->versions[i].node);
	}
	appendBinaryStringInfo(out, w->body.data, w->body.len);
	result = (bytea *) out->data;
	SET_VARSIZE(result, out->len);
	return result;
}

/* ---------- reading ---------- */

/* Raises the error for malformed bytes. */
void
merge_malformed(const MergeReader *r, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("malformed change of a merged column: %s at offset %d of %d", what, r->pos, r->len)));
}

/* Reads n bytes. */
static const char *
merge_bytes_take(MergeReader *r, int n)
{
	const char *p = r->data + r->pos;

	if (n < 0 || n > r->len - r->pos)
		merge_malformed(r, "it ends early");
	r->pos += n;
	return p;
}

uint64
merge_read_count(MergeReader *r)
{
	uint64		n = 0;

	for (int shift = 0; shift < 64; shift += 7)
	{
		uint8		b = (uint8) *merge_bytes_take(r, 1);

		n |= (uint64) (b & 0x7f) << shift;
		if (!(b & 0x80))
			return n;
	}
	merge_malformed(r, "a number is too long");
}

int
merge_read_length(MergeReader *r)
{
	uint64		n = merge_read_count(r);

	if (n > (uint64) (r->len - r->pos))
		merge_malformed(r, "a length is impossible");
	return (int) n;
}

/* Reads one version of the list. */
static Version
read_listed(MergeReader *r, Version self)
{
	Version		v;
	uint64		ts;
	uint32		node;

	memcpy(&ts, merge_bytes_take(r, sizeof(ts)), sizeof(ts));
	memcpy(&node, merge_bytes_take(r, sizeof(node)), sizeof(node));
	v.ts = (TimestampTz) pg_ntoh64(ts);
	v.node = (NodeId) pg_ntoh32(node);
	if (version_cmp(v, VERSION_SELF) == 0)
	{
		r->unresolved = true;
		return self;
	}
	if (v.node < 0 || (v.node == INVALID_NODE_ID && !version_is_oldest(v)))
		merge_malformed(r, "a version is impossible");
	return v;
}

void
merge_reader_init(MergeReader *r, const char *data, int len, uint8 tag, Version self)
{
	*r = (MergeReader) {data, len};
	if ((uint8) *merge_bytes_take(r, 1) != tag)
		merge_malformed(r, "it is of another kind");
	r->flags = (uint8) *merge_bytes_take(r, 1);
	r->nversions = merge_read_length(r);
	if (r->nversions > (len - r->pos) / VERSION_BYTES)
		merge_malformed(r, "the list of versions ends early");
	r->versions = palloc(Max(r->nversions, 1) * sizeof(Version));
	for (int i = 0; i < r->nversions; i++)
		r->versions[i] = read_listed(r, self);
}

Version
merge_read_version(MergeReader *r)
{
	uint64		i = merge_read_count(r);

	if (i >= (uint64) r->nversions)
		merge_malformed(r, "a version is not on the list");
	return r->versions[i];
}

NodeId
merge_read_node(MergeReader *r)
{
	uint64		node = merge_read_count(r);

	if (node == 0 || node > PG_INT32_MAX)
		merge_malformed(r, "a node number is impossible");
	return (NodeId) node;
}

const char *
merge_read_bytes(MergeReader *r, int *len)
{
	*len = merge_read_length(r);
	return merge_bytes_take(r, *len);
}

const char *
merge_read_text(MergeReader *r, int *len)
{
	const char *p = merge_read_bytes(r, len);

	if (pg_encoding_verifymbstr(GetDatabaseEncoding(), p, *len) != *len)
		merge_malformed(r, "a text is not valid in this encoding");
	return p;
}

const char *
merge_read_path(MergeReader *r, int *len)
{
	const char *path = merge_read_bytes(r, len);

	if (*len > 0 && path[*len - 1] != '\0')
		merge_malformed(r, "a path has no end");
	for (int at = 0; at < *len; at += strlen(path + at) + 1)
	{
		int			n = strlen(path + at);

		if (pg_encoding_verifymbstr(GetDatabaseEncoding(), path + at, n) != n)
			merge_malformed(r, "a name is not valid in this encoding");
	}
	return path;
}

Numeric
merge_read_numeric(MergeReader *r)
{
	StringInfoData in;
	int			len;
	const char *p = merge_read_bytes(r, &len);
	Numeric		value;

	initStringInfo(&in);
	appendBinaryStringInfo(&in, p, len);
	value = DatumGetNumeric(DirectFunctionCall3(numeric_recv, PointerGetDatum(&in),
												ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	if (in.cursor != in.len)
		merge_malformed(r, "a number is too long");
	return value;
}

void
merge_read_end(MergeReader *r)
{
	if (r->pos != r->len)
		merge_malformed(r, "something follows its end");
}

/* ---------- the list of versions, common to all states ---------- */

/* Reads the list of a state of any kind. */
static void
read_list(MergeReader *r, bytea *state, Version self)
{
	int			len = VARSIZE_ANY_EXHDR(state);

	merge_reader_init(r, VARDATA_ANY(state), len, len > 0 ? (uint8) *VARDATA_ANY(state) : 0, self);
}

bytea *
merge_state_resolve(bytea *state, Version version)
{
	MergeReader r;
	bytea	   *result = DatumGetByteaPCopy(PointerGetDatum(state));
	char	   *data = VARDATA(result);
	int			body;

	read_list(&r, result, version);
	body = r.pos;
	for (int i = 0; i < r.nversions; i++)
	{
		char	   *p = data + body - (r.nversions - i) * VERSION_BYTES;
		uint64		ts = pg_hton64((uint64) r.versions[i].ts);
		uint32		node = pg_hton32((uint32) r.versions[i].node);

		memcpy(p, &ts, sizeof(ts));
		memcpy(p + sizeof(ts), &node, sizeof(node));
	}
	return result;
}

bool
merge_forgettable(bytea *state, bool live, const Frontier *through)
{
	MergeReader r;

	read_list(&r, DatumGetByteaPP(PointerGetDatum(state)), VERSION_SELF);
	if (live && (r.flags & MERGE_HAS_TOTALS))
		return false;
	for (int i = 0; i < r.nversions; i++)
	{
		if (!version_is_oldest(r.versions[i]) &&
			frontier_ts(through, r.versions[i].node) < r.versions[i].ts)
			return false;
	}
	return true;
}
