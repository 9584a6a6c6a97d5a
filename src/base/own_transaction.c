/*
 * own_transaction.c
 *		A transaction around a few steps, in a process that has none.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/own_transaction.h"

OwnTransaction
own_transaction_begin(void)
{
	OwnTransaction t = {.context = CurrentMemoryContext,.began = true};

	Assert(!IsTransactionState());
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	return t;
}

void
own_transaction_snapshot(OwnTransaction *t)
{
	Assert(t->began && !t->snapshot);
	PushActiveSnapshot(GetTransactionSnapshot());
	t->snapshot = true;
}

OwnTransaction
own_transaction_begin_sql(void)
{
	OwnTransaction t = own_transaction_begin();

	own_transaction_snapshot(&t);
	return t;
}

OwnTransaction
own_transaction_ensure(void)
{
	OwnTransaction none = {.context = CurrentMemoryContext};

	return IsTransactionState() ? none : own_transaction_begin();
}

void
own_transaction_end(const OwnTransaction *t)
{
	Assert(IsTransactionState());
	if (t->snapshot)
		PopActiveSnapshot();
	if (t->began)
		CommitTransactionCommand();
	MemoryContextSwitchTo(t->context);
}
