-- The state that the incident log calls AUDIT-001, for PeerQuest's tables without the integrity layer: three approvals
-- without a participant, two quests in progress that nobody is assigned to.
insert into users_user (
  id, password, is_superuser, username, first_name, last_name, is_staff, is_active, date_joined, email
)
values
(
  '11111111-1111-4111-8111-111111111111',
  '!',
  false,
  'questmaster',
  '',
  '',
  false,
  true,
  now(),
  'questmaster@example.org'
),
('20000000-0000-4000-8000-000000000000', '!', false, 'helper', '', '', false, true, now(), 'helper@example.org'),
('20000000-0000-4000-8000-000000000001', '!', false, 'student1', '', '', false, true, now(), 'student1@example.org'),
('20000000-0000-4000-8000-000000000002', '!', false, 'student2', '', '', false, true, now(), 'student2@example.org'),
('20000000-0000-4000-8000-000000000003', '!', false, 'student3', '', '', false, true, now(), 'student3@example.org');

insert into quests_questcategory (id, name, created_at)
values (1, 'Demo', now());

-- Quests 21 to 23 have a helper, so that only the student's own record is missing.
insert into quests_quest (
  id, title, description, difficulty, status, xp_reward, gold_reward, commission_fee, created_at, updated_at,
  requirements, resources, slug, is_deleted, assigned_to_id, category_id, creator_id
)
values
(
  21, 'Quest 21', '', 'easy', 'in-progress', 10, 0, 0, now(), now(), '', '', 'quest-21', false,
  '20000000-0000-4000-8000-000000000000', 1, '11111111-1111-4111-8111-111111111111'
),
(
  22, 'Quest 22', '', 'easy', 'in-progress', 10, 0, 0, now(), now(), '', '', 'quest-22', false,
  '20000000-0000-4000-8000-000000000000', 1, '11111111-1111-4111-8111-111111111111'
),
(
  23, 'Quest 23', '', 'easy', 'in-progress', 10, 0, 0, now(), now(), '', '', 'quest-23', false,
  '20000000-0000-4000-8000-000000000000', 1, '11111111-1111-4111-8111-111111111111'
),
(
  24, 'Quest 24', '', 'easy', 'in-progress', 10, 0, 0, now(), now(), '', '', 'quest-24', false,
  null, 1, '11111111-1111-4111-8111-111111111111'
),
(
  25, 'Quest 25', '', 'easy', 'in-progress', 10, 0, 0, now(), now(), '', '', 'quest-25', false,
  null, 1, '11111111-1111-4111-8111-111111111111'
);

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
