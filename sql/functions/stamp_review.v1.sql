create or replace function integrity.stamp_review()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  new.reviewed_at := now();
  return new;
end
$$;

comment on function integrity.stamp_review() is
'Trigger function. Gives an application that becomes approved without a review time the time of the transaction.';

revoke all on function integrity.stamp_review() from public;
