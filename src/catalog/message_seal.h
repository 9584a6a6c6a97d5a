/*
 * message_seal.h
 *		Seals of logical messages, which prove that the extension has written them.
 */
#ifndef REPLICATION_PLUGIN_MESSAGE_SEAL_H
#define REPLICATION_PLUGIN_MESSAGE_SEAL_H

#include "postgres.h"

#include "lib/stringinfo.h"

/* Writes a message into the WAL, as part of the current transaction. Appends a seal to content. */
extern void message_emit(StringInfo content);

/*
 * Returns true if the extension has written the message, in the transaction with this number.
 * *content_size receives the size without the seal. Called during decoding.
 */
extern bool message_open(const char *message, Size size, TransactionId xid, Size *content_size);

#endif							/* REPLICATION_PLUGIN_MESSAGE_SEAL_H */
