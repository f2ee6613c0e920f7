"""The event tables of the three models, and the triggers on their tables, all as the two packages generate them."""

import pghistory
import pgtrigger

from tests.django_app.applications.models import Application
from tests.django_app.quests.models import Quest, QuestParticipant

# An approval lets the applicant take part and assigns the quest; a kick undoes both.
APPROVE = """
insert into quests_questparticipant (quest_id, user_id, status, joined_at, progress_notes)
values (new.quest_id, new.applicant_id, 'joined', now(), '')
on conflict (quest_id, user_id) do update set status = 'joined' where quests_questparticipant.status = 'dropped';
update quests_quest set status = 'in-progress', assigned_to_id = new.applicant_id where id = new.quest_id;
return null;
"""

KICK = """
update quests_questparticipant set status = 'dropped'
where quest_id = new.quest_id and user_id = new.applicant_id and status in ('joined', 'in_progress');
update quests_quest set status = 'open', assigned_to_id = null
where id = new.quest_id and assigned_to_id = new.applicant_id;
return null;
"""


def _is_approved(row: str) -> pgtrigger.Q:
    return pgtrigger.Q(**{f"{row}__status": "approved"})


TRIGGERS = (
    pgtrigger.Trigger(
        name="approve",
        when=pgtrigger.After,
        operation=pgtrigger.UpdateOf("status"),
        condition=~_is_approved("old") & _is_approved("new"),
        func=APPROVE,
    ),
    pgtrigger.Trigger(
        name="kick",
        when=pgtrigger.After,
        operation=pgtrigger.UpdateOf("status"),
        condition=_is_approved("old") & ~_is_approved("new"),
        func=KICK,
    ),
)
pgtrigger.register(*TRIGGERS)(Application)

# By default pghistory records inserts and updates that change something.
for model in (Quest, QuestParticipant, Application):
    pghistory.track(app_label="peer_app")(model)
