/*
 * message_seal.h
 *		Logical messages that only the extension can have written.
 */
#ifndef REPLICATION_PLUGIN_MESSAGE_SEAL_H
#define REPLICATION_PLUGIN_MESSAGE_SEAL_H

#include "postgres.h"

#include "lib/stringinfo.h"

/*
 * Writes a message into the WAL, as a part of this transaction: the content, to which a seal is
 * appended.
 */
extern void message_emit(StringInfo content);

/*
 * Returns true if this extension has written the message, in the transaction with this number;
 * *content_size is then what is without the seal. While decoding.
 */
extern bool message_open(const char *message, Size size, TransactionId xid, Size *content_size);

#endif							/* REPLICATION_PLUGIN_MESSAGE_SEAL_H */
