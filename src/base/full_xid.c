/*
 * full_xid.c
 *		Transaction numbers with their epoch.
 */
#include "postgres.h"

#include "access/transam.h"

#include "base/full_xid.h"

uint64
full_xid_of(TransactionId xid)
{
	FullTransactionId next = ReadNextFullTransactionId();
	uint64		full = U64FromFullTransactionId(FullTransactionIdFromEpochAndXid(EpochFromFullTransactionId(next), xid));

	if (!TransactionIdIsNormal(xid))
		return 0;
	if (full >= U64FromFullTransactionId(next))
		full -= UINT64CONST(1) << 32;
	return full;
}
