-- The state that the incident log calls AUDIT-001, for PeerQuest's tables without the integrity layer: three approvals
-- without a participant, two quests in progress that nobody is assigned to.
insert into users_user (
  id, password, is_superuser, username, first_name, last_name, is_staff, is_active, date_joined, email
)
select
  person.id::uuid,
  '!',
  false,
  person.username,
  '',
  '',
  false,
  true,
  now(),
  person.username || '@example.org'
from (
  values
  ('11111111-1111-4111-8111-111111111111', 'questmaster'),
  ('20000000-0000-4000-8000-000000000000', 'helper'),
  ('20000000-0000-4000-8000-000000000001', 'student1'),
  ('20000000-0000-4000-8000-000000000002', 'student2'),
  ('20000000-0000-4000-8000-000000000003', 'student3')
) as person (id, username);

insert into quests_questcategory (id, name, created_at)
values (1, 'Demo', now());

-- Quests 21 to 23 have a helper, so that only the student's own record is missing.
insert into quests_quest (
  id, title, description, difficulty, status, xp_reward, gold_reward, commission_fee, created_at, updated_at,
  requirements, resources, slug, is_deleted, assigned_to_id, category_id, creator_id
)
select
  quest.id,
  'Quest ' || quest.id,
  '',
  'easy',
  'in-progress',
  10,
  0,
  0,
  now(),
  now(),
  '',
  '',
  'quest-' || quest.id,
  false,
  case when quest.id <= 23 then '20000000-0000-4000-8000-000000000000'::uuid end,
  1,
  '11111111-1111-4111-8111-111111111111'
from generate_series(21, 25) as quest (id);

insert into applications_application (status, applied_at, reviewed_at, quest_id, applicant_id)
values
('approved', now(), now(), 21, '20000000-0000-4000-8000-000000000000'),
('approved', now(), now(), 21, '20000000-0000-4000-8000-000000000002'),
('approved', now(), now(), 22, '20000000-0000-4000-8000-000000000000'),
('approved', now(), now(), 22, '20000000-0000-4000-8000-000000000002'),
('approved', now(), now(), 23, '20000000-0000-4000-8000-000000000000'),
('approved', now(), now(), 23, '20000000-0000-4000-8000-000000000003'),
('approved', now(), now(), 24, '20000000-0000-4000-8000-000000000002'),
('approved', now(), now(), 25, '20000000-0000-4000-8000-000000000001');

insert into quests_questparticipant (status, joined_at, progress_notes, quest_id, user_id)
values
('joined', now(), '', 21, '20000000-0000-4000-8000-000000000000'),
('joined', now(), '', 22, '20000000-0000-4000-8000-000000000000'),
('joined', now(), '', 23, '20000000-0000-4000-8000-000000000000'),
('joined', now(), '', 24, '20000000-0000-4000-8000-000000000002'),
('joined', now(), '', 25, '20000000-0000-4000-8000-000000000001');
