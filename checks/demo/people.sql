-- Who is concerned by violations of severity error, and by how many.
select
  person.username,
  count(*)::text as violations
from integrity.violations as violation
inner join users_user as person
  on violation.user_id = person.id
where violation.severity = 'error'
group by person.username
order by
  count(*) desc,
  person.username desc;
