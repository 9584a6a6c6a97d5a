/*
 * message_seal.c
 *		Seals of logical messages, which prove that the extension has written them.
 *
 * Every user may call pg_logical_emit_message() with any prefix. The contents of the extension's
 * messages are applied on other nodes with the rights of the tables' owners. So each message has a
 * seal: a keyed hash (HMAC, RFC 2104, with SHA-256, of which the first half is kept) of the
 * transaction's number and the content. The key is random, and made with the extension. It is in a
 * table that only the owner of the extension can read, and never leaves the server. As the
 * transaction's number is part of the hash, a message that a user has seen is of no use in another
 * transaction.
 *
 * WAL from before the key was made (by an earlier version of the extension) has messages without
 * seals. Decoding sees the catalog as of that time, and so can tell.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "common/hmac.h"
#include "common/sha2.h"
#include "port/pg_bswap.h"
#include "replication/message.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "catalog/message_seal.h"
#include "catalog/names.h"

#define ATT_SECRET		2
#define SECRET_BYTES	32
#define SEAL_BYTES		16

typedef struct Secret
{
	Oid			table;			/* the table from which it was read, whose key never changes */
	uint8		bytes[SECRET_BYTES];
} Secret;

/* Reads the key from its table. */
static void
read_secret(Oid table, Secret *secret)
{
	Relation	rel = table_open(table, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple = systable_getnext(scan);
	bool		isnull = true;
	Datum		value = HeapTupleIsValid(tuple)
							? heap_getattr(tuple, ATT_SECRET, RelationGetDescr(rel), &isnull)
							: (Datum) 0;
	bytea	   *bytes = isnull ? NULL : DatumGetByteaPP(value);

	if (!bytes || VARSIZE_ANY_EXHDR(bytes) != SECRET_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" does not have the key of this database", EXTENSION_SCHEMA, TABLE_MESSAGE_SECRET),
				 errhint("Only the extension may write its tables. Take the node out with remove_node(), and have it join anew.")));
	memcpy(secret->bytes, VARDATA_ANY(bytes), SECRET_BYTES);
	secret->table = table;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* Returns the key of this database; NULL if there was none yet. */
static const Secret *
current_secret(void)
{
	static Secret secret;
	Oid			table = extension_relation_oid(TABLE_MESSAGE_SECRET);

	if (!OidIsValid(table))
		return NULL;
	if (secret.table != table)
		read_secret(table, &secret);
	return &secret;
}

/* Computes the seal of a message. */
static void
compute_seal(const Secret *secret, TransactionId xid, const char *content, Size size, uint8 *seal)
{
	uint32		number = pg_hton32(xid);
	uint8		hash[PG_SHA256_DIGEST_LENGTH];
	pg_hmac_ctx *ctx = pg_hmac_create(PG_SHA256);

	if (!ctx || pg_hmac_init(ctx, secret->bytes, SECRET_BYTES) < 0 ||
		pg_hmac_update(ctx, (const uint8 *) &number, sizeof(number)) < 0 ||
		pg_hmac_update(ctx, (const uint8 *) content, size) < 0 ||
		pg_hmac_final(ctx, hash, sizeof(hash)) < 0)
		elog(ERROR, "could not compute the seal of a message: %s", pg_hmac_error(ctx));
	pg_hmac_free(ctx);
	memcpy(seal, hash, SEAL_BYTES);
}

void
message_emit(StringInfo content)
{
	const Secret *secret = current_secret();
	uint8		seal[SEAL_BYTES];

	Assert(content->len > 0);
	if (secret)
	{
		compute_seal(secret, GetTopTransactionId(), content->data, content->len, seal);
		appendBinaryStringInfo(content, (const char *) seal, SEAL_BYTES);
	}
	log_message(PLUGIN_NAME, content->data, content->len, true);
}

bool
message_open(const char *message, Size size, TransactionId xid, Size *content_size)
{
	const Secret *secret = current_secret();
	uint8		seal[SEAL_BYTES];
	uint8		differs = 0;

	*content_size = size;
	if (!secret)
		return true;
	if (size <= SEAL_BYTES)
		return false;
	compute_seal(secret, xid, message, size - SEAL_BYTES, seal);
	/* takes the same time wherever they differ */
	for (int i = 0; i < SEAL_BYTES; i++)
		differs |= seal[i] ^ (uint8) message[size - SEAL_BYTES + i];
	*content_size = size - SEAL_BYTES;
	return differs == 0;
}
